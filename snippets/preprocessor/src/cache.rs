//! What the library made, kept between builds.
//!
//! A generation is a folder named by the hash of the program and its data files, since any change
//! of either can change anything that is made. Switching back and forth, between a lab's starter
//! and its solution, say, finds the generation of before.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::Kind;

/// How many generations are kept: enough to switch between a few variants of the labs.
const GENERATIONS: usize = 4;

/// The generation that belongs to this program and these data.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    generation: PathBuf,
}

impl Cache {
    /// Opens the generation that depends on the bytes of `inputs`, under the folder `root`.
    ///
    /// A file that is missing counts as missing: the library will say what it needs it for.
    ///
    /// # Errors
    /// If a file is there and cannot be read, or the folder cannot be made.
    pub fn open(root: &Path, inputs: &[PathBuf]) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        for input in inputs {
            let content = hash_file(input);
            let content = content.with_context(|| format!("cannot read {}", input.display()))?;
            hasher.update(input.as_os_str().as_encoded_bytes());
            hasher.update(content.as_ref().map_or(&[0; 32], |hash| hash.as_bytes()));
        }
        let generation = root.join(&hasher.finalize().to_hex()[..32]);
        fs::create_dir_all(&generation)
            .with_context(|| format!("cannot make the cache {}", generation.display()))?;
        Ok(Self { root: root.to_owned(), generation })
    }

    /// What was made before. `None` if nothing was, or if the entry is damaged.
    pub fn get(&self, kind: Kind, name: &str) -> Option<String> {
        let entry = fs::read_to_string(self.path(kind, name)).ok()?;
        let (checksum, text) = entry.split_once('\n')?;
        (checksum == checksum_of(text)).then(|| text.to_owned())
    }

    /// Keeps what was made.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, kind: Kind, name: &str, text: &str) -> Result<()> {
        let path = self.path(kind, name);
        self.write(&path, text)
            .with_context(|| format!("cannot write the cache entry {}", path.display()))
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        // Two builds may run at a time, and one may be interrupted: no one sees half an entry.
        let mut file = tempfile::NamedTempFile::new_in(&self.generation)?;
        writeln!(file, "{}", checksum_of(text))?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.generation.join(format!("{}-{name}.md", kind.word()))
    }

    /// Removes the generations that were not used for longest.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn prune(&self) -> Result<()> {
        // An entry read leaves no trace, so the generation in use is marked as the newest.
        fs::write(self.generation.join("used"), "")?;
        let mut generations = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            // A desktop may leave files of its own here.
            if !path.is_dir() {
                continue;
            }
            let used = fs::metadata(path.join("used")).and_then(|file| file.modified());
            generations.push((used.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
        generations.sort();
        let surplus = generations.len().saturating_sub(GENERATIONS);
        for (_, path) in generations.into_iter().take(surplus) {
            fs::remove_dir_all(path)?;
        }
        Ok(())
    }
}

fn checksum_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn hash_file(path: &Path) -> io::Result<Option<blake3::Hash>> {
    let mut content = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut content)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(blake3::hash(&content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(root: &Path, program: &str) -> Cache {
        let input = root.join("program");
        fs::write(&input, program).unwrap();
        Cache::open(&root.join("cache"), &[input, root.join("missing")]).unwrap()
    }

    #[test]
    fn an_entry_is_found_again_by_the_same_program_only() {
        let root = tempfile::tempdir().unwrap();
        cache(root.path(), "one").put(Kind::Value, "x", "3\n4").unwrap();
        assert_eq!(cache(root.path(), "one").get(Kind::Value, "x").unwrap(), "3\n4");
        assert_eq!(cache(root.path(), "one").get(Kind::Table, "x"), None);
        assert_eq!(cache(root.path(), "two").get(Kind::Value, "x"), None);
    }

    #[test]
    fn a_damaged_entry_counts_as_missing() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(root.path(), "one");
        cache.put(Kind::Figure, "x", "<svg/>").unwrap();
        let path = cache.path(Kind::Figure, "x");
        let damaged = fs::read_to_string(&path).unwrap().replace("svg", "sv");
        fs::write(&path, damaged).unwrap();
        assert_eq!(cache.get(Kind::Figure, "x"), None);
    }

    #[test]
    fn only_the_generations_used_last_are_kept() {
        let root = tempfile::tempdir().unwrap();
        for program in 0..GENERATIONS + 3 {
            let cache = cache(root.path(), &program.to_string());
            cache.put(Kind::Value, "x", "3").unwrap();
            cache.prune().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(fs::read_dir(root.path().join("cache")).unwrap().count(), GENERATIONS);
        let last = cache(root.path(), &(GENERATIONS + 2).to_string());
        assert_eq!(last.get(Kind::Value, "x").unwrap(), "3");
        assert_eq!(cache(root.path(), "0").get(Kind::Value, "x"), None);
    }
}
