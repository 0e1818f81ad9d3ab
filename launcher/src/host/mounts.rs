//! What is mounted, by the kernel's own list (proc_pid_mountinfo(5)).

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where, as the list has it: blanks and their like are octal there.
    pub path: String,
    /// Options of the mount, and of the file system beneath it.
    pub options: Vec<String>,
    /// Which file system.
    pub kind: String,
}

impl MountPoint {
    /// Whether the kernel lets nobody write there.
    pub fn is_read_only(&self) -> bool {
        self.has("ro")
    }

    /// Whether it has an option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|it| it == option)
    }
}

/// The list, read. Lines that are none of the kernel's are passed over: a hostile one has no more to say than
/// one that is missing.
pub fn parse(list: &str) -> Vec<MountPoint> {
    list.lines().filter_map(mount_point).collect()
}

fn mount_point(line: &str) -> Option<MountPoint> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(4);
    let (path, own) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let (kind, below) = (file_system.next()?, file_system.nth(1)?);
    let options = own.split(',').chain(below.split(',')).map(str::to_owned).collect();
    Some(MountPoint { path: path.to_owned(), options, kind: kind.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            "36 35 98:0 /mnt1 /mnt2\\040x ro,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let [mount] = &parse(line)[..] else { panic!("one mount") };
        assert_eq!((mount.path.as_str(), mount.kind.as_str()), ("/mnt2\\040x", "ext3"));
        assert!(mount.is_read_only() && mount.has("noatime") && !mount.has("nodev"));
    }

    #[test]
    fn what_is_no_list_has_no_mounts() {
        assert_eq!(parse("36 35 98:0 /mnt1 /mnt2 ro\n\n - \n1 2 3 4 - 5"), []);
    }

    #[test]
    fn this_process_has_a_root() {
        let list = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(parse(&list).iter().any(|mount| mount.path == "/"), "{list}");
        assert_eq!(parse(&list).len(), list.lines().count());
    }
}
