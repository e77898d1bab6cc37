//! How many threads a kernel runs on.

/// The system would not start the threads.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("cannot start {threads} threads: {why}")]
pub struct ThreadsError {
    /// How many were asked for.
    pub threads: usize,
    /// What the system said.
    pub why: String,
}

/// A pool of a fixed number of threads.
///
/// ```
/// use kernels::Threads;
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
    /// [`ThreadsError`] if the system refuses.
    pub fn new(count: usize) -> Result<Self, ThreadsError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        let refused = |why: rayon::ThreadPoolBuildError| ThreadsError {
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
