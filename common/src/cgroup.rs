//! Which control groups a process is in, as `/proc/PID/cgroup` has it.

use std::path::{Path, PathBuf};

/// Where control groups are found on all usual systems.
pub const ROOT: &str = "/sys/fs/cgroup";

/// A membership: in the one group of v2, or in that of one v1 hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Controllers of the hierarchy; none for v2.
    pub controllers: &'a str,
    /// From the root of the hierarchy; in a container it may be the host's.
    pub path: &'a str,
}

impl Membership<'_> {
    /// Whether it is in v2.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it is in the v1 hierarchy of this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    /// Its directory below `mount`, where the hierarchy is mounted.
    pub fn directory(&self, mount: &Path) -> PathBuf {
        mount.join(self.path.trim_start_matches('/'))
    }
}

/// `cgroups(7)`: `0::/path` is v2, `4:memory:/path` v1.
pub fn memberships(groups: &str) -> impl Iterator<Item = Membership<'_>> {
    groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some(Membership { controllers: parts.next()?, path: parts.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_understood() {
        let text = "9:name=systemd:/\n3:cpu,cpuacct:/a:b\n0::/system.slice/oriel.service\nnonsense\n";
        let all: Vec<_> = memberships(text).collect();
        assert_eq!(all.len(), 3);
        assert!(all[1].has("cpu") && !all[1].has("cpuset") && !all[1].is_v2());
        assert_eq!(all[1].path, "/a:b");
        assert!(all[2].is_v2());
        assert_eq!(all[2].directory(Path::new(ROOT)), Path::new("/sys/fs/cgroup/system.slice/oriel.service"));
    }
}
