//! What the library made, kept between builds.
//!
//! A generation is a folder named by the hash of the program, because any change of the program can
//! change anything that is made. In it an entry has a file, named by the hash of the entry's own
//! inputs. Switching back and forth, between a lab's starter and its solution or between two
//! captures, finds what was made before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use blake3::Hash;

use crate::Kind;

/// How many generations are kept: enough to switch between a few variants of the labs.
const GENERATIONS: usize = 4;

/// The generation that belongs to this program.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    generation: PathBuf,
    /// Of every input that was asked about, because many entries share one. `None` is a file that
    /// is missing.
    hashes: BTreeMap<PathBuf, Option<Hash>>,
}

impl Cache {
    /// Opens the generation of `program`, under the folder `root`.
    ///
    /// # Errors
    /// If the program cannot be read, or the folder cannot be made.
    pub fn open(root: &Path, program: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut cache =
            Self { root: root.to_owned(), generation: root.to_owned(), hashes: BTreeMap::new() };
        cache.add(program, &mut hasher)?;
        cache.generation.push(short(&hasher.finalize()));
        fs::create_dir_all(&cache.generation)
            .with_context(|| format!("cannot make the cache {}", cache.generation.display()))?;
        Ok(cache)
    }

    /// The file of an entry that is made of `inputs`.
    ///
    /// # Errors
    /// If an input is there and cannot be read.
    pub fn place(&mut self, kind: Kind, name: &str, inputs: &[PathBuf]) -> Result<PathBuf> {
        let mut hasher = blake3::Hasher::new();
        for input in inputs {
            self.add(input, &mut hasher)?;
        }
        let key = short(&hasher.finalize());
        Ok(self.generation.join(format!("{}-{name}-{key}.md", kind.word())))
    }

    /// Adds the path and the bytes of a file to a hash.
    fn add(&mut self, file: &Path, hasher: &mut blake3::Hasher) -> Result<()> {
        if !self.hashes.contains_key(file) {
            let hash =
                hash_file(file).with_context(|| format!("cannot read {}", file.display()))?;
            self.hashes.insert(file.to_owned(), hash);
        }
        let hash = self.hashes.get(file).copied().flatten();
        hasher.update(file.as_os_str().as_encoded_bytes());
        hasher.update(hash.as_ref().map_or(&[0; 32], |hash| hash.as_bytes()));
        Ok(())
    }

    /// What was made before. `None` if nothing was, or if the file is damaged.
    pub fn get(place: &Path) -> Option<String> {
        let entry = fs::read_to_string(place).ok()?;
        let (checksum, text) = entry.split_once('\n')?;
        (checksum == checksum_of(text)).then(|| text.to_owned())
    }

    /// Keeps what was made.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, place: &Path, text: &str) -> Result<()> {
        self.write(place, text)
            .with_context(|| format!("cannot write the cache entry {}", place.display()))
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        // Two builds may run at a time, and one may be interrupted: no one sees half an entry.
        let mut file = tempfile::NamedTempFile::new_in(&self.generation)?;
        writeln!(file, "{}", checksum_of(text))?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
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

/// Enough of a hash for the name of a file.
fn short(hash: &Hash) -> String {
    hash.to_hex()[..32].to_owned()
}

fn checksum_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn hash_file(path: &Path) -> io::Result<Option<Hash>> {
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
        fs::write(root.join("program"), program).unwrap();
        Cache::open(&root.join("cache"), &root.join("program")).unwrap()
    }

    /// What the cache of `program` has of the value `x`, which is made of one file.
    fn kept(root: &Path, program: &str) -> Option<String> {
        let place = cache(root, program).place(Kind::Value, "x", &[root.join("data")]);
        Cache::get(&place.unwrap())
    }

    fn keep(root: &Path, program: &str, text: &str) -> Cache {
        let mut cache = cache(root, program);
        let place = cache.place(Kind::Value, "x", &[root.join("data")]).unwrap();
        cache.put(&place, text).unwrap();
        cache
    }

    #[test]
    fn an_entry_is_found_again_by_the_same_program_with_the_same_inputs_only() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        keep(root, "one", "3\n4");
        assert_eq!(kept(root, "one").unwrap(), "3\n4");
        assert_eq!(kept(root, "two"), None);
        let mut one = cache(root, "one");
        let data = [root.join("data")];
        for (kind, inputs) in [(Kind::Table, &data[..]), (Kind::Value, &[])] {
            assert_eq!(Cache::get(&one.place(kind, "x", inputs).unwrap()), None);
        }
        fs::write(&data[0], "new").unwrap();
        assert_eq!(kept(root, "one"), None);
        fs::remove_file(&data[0]).unwrap();
        assert_eq!(kept(root, "one").unwrap(), "3\n4");
    }

    #[test]
    fn a_damaged_entry_counts_as_missing() {
        let root = tempfile::tempdir().unwrap();
        let mut cache = keep(root.path(), "one", "<svg/>");
        let place = cache.place(Kind::Value, "x", &[root.path().join("data")]).unwrap();
        let damaged = fs::read_to_string(&place).unwrap().replace("svg", "sv");
        fs::write(&place, damaged).unwrap();
        assert_eq!(Cache::get(&place), None);
    }

    #[test]
    fn only_the_generations_used_last_are_kept() {
        let root = tempfile::tempdir().unwrap();
        for program in 0..GENERATIONS + 3 {
            keep(root.path(), &program.to_string(), "3").prune().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(fs::read_dir(root.path().join("cache")).unwrap().count(), GENERATIONS);
        assert_eq!(kept(root.path(), &(GENERATIONS + 2).to_string()).unwrap(), "3");
        assert_eq!(kept(root.path(), "0"), None);
    }
}
