//! How many threads a kernel runs on.

use super::KernelError;

/// A pool of a fixed number of threads.
///
/// ```
/// use int4_groups::kernels::Threads;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let two = Threads::new(2)?;
/// assert_eq!(two.run(rayon::current_num_threads), 2);
/// # Ok(())
/// # }
/// ```
pub struct Threads(rayon::ThreadPool);

impl Threads {
    /// Starts `count` threads; 0 means as many as the machine has processors.
    ///
    /// # Errors
    /// [`KernelError::Threads`] if the system refuses.
    pub fn new(count: usize) -> Result<Self, KernelError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        let refused = |why: rayon::ThreadPoolBuildError| KernelError::Threads {
            threads: count,
            why: why.to_string(),
        };
        Ok(Self(pool.map_err(refused)?))
    }

    /// Runs `work` on these threads and waits for it.
    pub fn run<Output: Send>(&self, work: impl FnOnce() -> Output + Send) -> Output {
        self.0.install(work)
    }
}
