//! How often the kernel has killed for want of memory in our control group: the only way to tell such a kill from any other.

use std::fs;
use std::path::PathBuf;

use common::cgroup;

/// The counter of a control group, v1 or v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomKills {
    file: PathBuf,
}

impl OomKills {
    /// That of this process; `None` where it cannot be read.
    pub fn here() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let candidates = files(&groups).into_iter().map(|file| Self { file });
        candidates.into_iter().find(|kills| kills.count().is_some())
    }

    /// How often so far.
    pub fn count(&self) -> Option<u64> {
        parse(&fs::read_to_string(&self.file).ok()?)
    }
}

/// Where the counter may be. Within a container the path may be the host's, and the group itself is at the root.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for group in cgroup::memberships(groups) {
        let (mount, file) = match group {
            group if group.is_v2() => (PathBuf::from(cgroup::ROOT), "memory.events"),
            group if group.has("memory") => {
                (PathBuf::from(cgroup::ROOT).join("memory"), "memory.oom_control")
            }
            _ => continue,
        };
        files.push(group.directory(&mount).join(file));
        files.push(mount.join(file));
    }
    files
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let texts = |groups| files(groups).into_iter().map(|f| f.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            texts("0::/system.slice/oriel.service\n"),
            ["/sys/fs/cgroup/system.slice/oriel.service/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            texts("9:name=systemd:/\n4:memory:/a\n3:cpu,cpuacct:/a\n"),
            ["/sys/fs/cgroup/memory/a/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"]
        );
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(parse("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
