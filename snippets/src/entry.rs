//! An entry of the book: a name, what it is made of besides the labs, and how it is made.
//!
//! A maker is *handed* its data, and there is no other way to it: only [`Entry::of`] can open an
//! [`Input`]. So an entry that reads a file has named the file, and the key under which the
//! preprocessor keeps the entry follows from the content of the file.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow};

/// Files of the repository, and the data that they hold. The files are read once in a process.
pub struct Input<T> {
    files: fn() -> Vec<PathBuf>,
    read: fn(&[PathBuf]) -> Result<T>,
    loaded: OnceLock<Result<T, String>>,
}

impl<T> Input<T> {
    /// The data that `read` finds in the files that `files` lists.
    pub(crate) const fn new(
        files: fn() -> Vec<PathBuf>,
        read: fn(&[PathBuf]) -> Result<T>,
    ) -> Self {
        Self { files, read, loaded: OnceLock::new() }
    }

    fn load(&self) -> Result<&T> {
        let read = || (self.read)(&(self.files)()).map_err(|error| format!("{error:#}"));
        self.loaded.get_or_init(read).as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The data, for tests, which no cache keeps.
    #[cfg(test)]
    pub(crate) fn data(&self) -> &T {
        self.load().expect("the repository has it")
    }
}

/// The right to open an input, which only [`Entry::of`] has.
pub struct Opening(());

/// No input, one, or two.
pub trait Inputs: Copy + Send + Sync + 'static {
    /// What a maker is handed.
    type Data;

    /// The files that they are read from.
    fn files(self) -> Vec<PathBuf>;

    /// Reads them, unless they have been read.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    fn open(self, by: &Opening) -> Result<Self::Data>;
}

impl Inputs for () {
    type Data = ();

    fn files(self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn open(self, _: &Opening) -> Result<()> {
        Ok(())
    }
}

impl<T: Send + Sync> Inputs for &'static Input<T> {
    type Data = &'static T;

    fn files(self) -> Vec<PathBuf> {
        (self.files)()
    }

    fn open(self, _: &Opening) -> Result<&'static T> {
        self.load()
    }
}

impl<A: Inputs, B: Inputs> Inputs for (A, B) {
    type Data = (A::Data, B::Data);

    fn files(self) -> Vec<PathBuf> {
        self.0.files().into_iter().chain(self.1.files()).collect()
    }

    fn open(self, by: &Opening) -> Result<Self::Data> {
        Ok((self.0.open(by)?, self.1.open(by)?))
    }
}

/// A named thing that a chapter can embed, and how to compute it.
pub struct Entry<T> {
    /// The name that chapters and snapshots use.
    pub name: &'static str,
    /// Whether the text is copied from a source that git keeps, so that a snapshot would be a second
    /// copy of the same lines.
    pub transcribed: bool,
    inputs: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
}

impl<T> Entry<T> {
    /// An entry that the labs alone compute.
    pub fn computed(
        name: &'static str,
        make: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        Self::of(name, (), move |()| make())
    }

    /// An entry that is made of `inputs`, whose data `make` is handed.
    pub fn of<I: Inputs>(
        name: &'static str,
        inputs: I,
        make: impl Fn(I::Data) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            transcribed: false,
            inputs: Box::new(move || inputs.files()),
            make: Box::new(move || make(inputs.open(&Opening(()))?)),
        }
    }

    /// The same entry, whose result is `changed`.
    pub(crate) fn map<U>(self, changed: impl Fn(T) -> U + Send + Sync + 'static) -> Entry<U>
    where
        T: 'static,
    {
        let Self { name, transcribed, inputs, make } = self;
        Entry { name, transcribed, inputs, make: Box::new(move || Ok(changed(make()?))) }
    }

    /// The same entry, whose text is copied from a source and computed from nothing.
    pub(crate) fn transcribed(self) -> Self {
        Self { transcribed: true, ..self }
    }

    /// The files that it is made of.
    pub fn inputs(&self) -> Vec<PathBuf> {
        (self.inputs)()
    }

    /// Runs the labs.
    ///
    /// # Errors
    /// If an input cannot be read, or a lab refuses what it is given.
    pub fn make(&self) -> Result<T> {
        (self.make)()
    }
}

/// What an entry makes, as a chapter embeds it.
pub trait Embed {
    /// HTML, or Markdown.
    ///
    /// # Errors
    /// If it does not fit a page.
    fn embed(&self, name: &str) -> Result<String>;
}

/// An entry, whatever it makes.
pub(crate) trait Named {
    fn name(&self) -> &'static str;
    fn inputs(&self) -> Vec<PathBuf>;
    fn render(&self) -> Result<String>;
}

impl<T: Embed> Named for Entry<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn inputs(&self) -> Vec<PathBuf> {
        self.inputs()
    }

    fn render(&self) -> Result<String> {
        self.make()?.embed(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static READ: AtomicUsize = AtomicUsize::new(0);
    static ONE: Input<usize> = Input::new(
        || vec!["a".into(), "b".into()],
        |files| {
            READ.fetch_add(1, Ordering::Relaxed);
            Ok(files.len())
        },
    );
    static BROKEN: Input<usize> =
        Input::new(|| vec!["c".into()], |files| Err(anyhow!("{} is damaged", files[0].display())));

    #[test]
    fn an_entry_is_made_of_what_it_names_and_that_is_read_once() -> Result<()> {
        let twice = Entry::of("twice", &ONE, |number| Ok(2 * number));
        let both = Entry::of("both", (&ONE, &BROKEN), |(one, other)| Ok(one + other));
        assert_eq!(both.inputs(), ["a", "b", "c"].map(PathBuf::from));
        assert_eq!((twice.make()?, twice.make()?), (4, 4));
        assert_eq!(both.make().unwrap_err().to_string(), "c is damaged");
        assert_eq!(READ.load(Ordering::Relaxed), 1);
        assert!(Entry::computed("alone", || Ok(1)).inputs().is_empty());
        Ok(())
    }
}
