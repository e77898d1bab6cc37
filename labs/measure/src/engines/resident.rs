//! The memory that the processes of an engine hold.

use std::fs;
use std::path::Path;

/// The memory of a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Bytes in memory. A page that several processes share is divided among them (Linux's PSS), so that the
    /// sum counts each page once.
    pub bytes: u64,
    /// Processes.
    pub processes: usize,
}

/// The memory of the processes of `group`, as `/proc` tells; `None` where there is no `/proc`, or no such
/// group.
pub fn of_group(group: u32) -> Option<Resident> {
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let of_group = processes.filter(|process| group_of(process) == Some(group));
    // A process that ends meanwhile holds nothing.
    let bytes: Vec<u64> = of_group.filter_map(|process| proportional(&process)).collect();
    let resident = Resident { bytes: bytes.iter().sum(), processes: bytes.len() };
    (resident.bytes > 0).then_some(resident)
}

/// The process group in `/proc/PID/stat`: the third word behind the name, which may have blanks and brackets.
fn group_of(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

/// `Pss:  1234 kB` in `/proc/PID/smaps_rollup`.
fn proportional(process: &Path) -> Option<u64> {
    let rollup = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_in_its_group_and_holds_what_it_has_written() {
        let group = group_of(Path::new("/proc/self")).expect("Linux tells the group");
        let before = of_group(group).expect("this process is in it");
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = of_group(group).expect("this process is in it");
        assert!(after.bytes > before.bytes + (60 << 20), "{before:?} {after:?}");
        drop(held);
        assert_eq!(of_group(u32::MAX), None);
    }
}
