//! As whom sessions run: as the server does, all as one other user, or each as a user of its own from a range of ids.
//!
//! [`Users`] owns who has which id of the range. It is pure: what is on the disk is told to it. An id stays with its session from
//! creation to deletion, and after that with the home that the session leaves behind in `homes/kept`, whose files belong to it. What a
//! later web-server has to know is in the file system: run directories and homes belong to the id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use common::id::StreamerId;
use serde::{Deserialize, Deserializer};

use crate::user::SessionUser;

/// Ids below belong to the system (`login.defs(5)`, `UID_MIN`).
const FIRST_ID: u32 = 1000;
/// `nobody`, and what the kernel takes for "no id" where ids have 16 bits.
const RESERVED_IDS: [u32; 2] = [65_534, 65_535];
/// The one after means "no id" to `chown(2)`.
const LAST_ID: u32 = u32::MAX - 1;

/// As whom sessions run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RunAs {
    /// As the server.
    #[default]
    Server,
    /// All of them as this user.
    One(SessionUser),
    /// Each as another user of these.
    Each(UserRange),
}

/// Ids of users and groups, such as `20000-20999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRange {
    first: u32,
    last: u32,
}

/// Why a text is no range of users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// Not two numbers.
    #[error("must be FIRST-LAST, such as 20000-20999")]
    Syntax,
    /// Not for sessions.
    #[error("must be from {FIRST_ID} to {LAST_ID}")]
    OutOfBounds,
    /// In it is an id that means something else.
    #[error("must not contain {0}, which is reserved")]
    Reserved(u32),
}

/// Somebody who has ids of a range already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} gives {id} to {name:?}: sessions need ids that nobody else has")]
pub struct Taken {
    file: &'static str,
    id: u32,
    name: String,
}

impl UserRange {
    /// Whether this id is one of them.
    pub fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Checks that no account of `passwd`, no group of `group` and no range of `subuid` has ids of this range; these are the texts of the
    /// files in `/etc`.
    ///
    /// # Errors
    /// One has.
    pub fn check_free(self, passwd: &str, group: &str, subuid: &str) -> Result<(), Taken> {
        let number = |field: Option<&str>| field.and_then(|field| field.trim().parse::<u32>().ok());
        for (file, text) in [("/etc/passwd", passwd), ("/etc/group", group)] {
            for line in text.lines() {
                let mut fields = line.split(':');
                let name = fields.next().unwrap_or_default();
                if let Some(id) = number(fields.nth(1)).filter(|id| self.contains(*id)) {
                    return Err(Taken { file, id, name: name.to_owned() });
                }
            }
        }
        for line in subuid.lines() {
            let mut fields = line.split(':');
            let name = fields.next().unwrap_or_default();
            let first = number(fields.next());
            let count = number(fields.next());
            if let (Some(first), Some(count @ 1..)) = (first, count)
                && first <= self.last
                && self.first <= first.saturating_add(count - 1)
            {
                return Err(Taken { file: "/etc/subuid", id: first.max(self.first), name: name.to_owned() });
            }
        }
        Ok(())
    }

    /// Each of them once, from the `nth` on, and then those before it.
    fn around(self, nth: u32) -> impl Iterator<Item = u32> {
        // At most `LAST_ID` ids, so the count fits.
        let start = self.first + nth % (self.last - self.first + 1);
        (start..=self.last).chain(self.first..start)
    }
}

impl FromStr for UserRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (first, last) = text.split_once('-').ok_or(InvalidRange::Syntax)?;
        let id = |text: &str| text.trim().parse::<u32>().map_err(|_| InvalidRange::Syntax);
        let range = Self { first: id(first)?, last: id(last)? };
        if range.first > range.last {
            return Err(InvalidRange::Syntax);
        }
        if range.first < FIRST_ID || range.last > LAST_ID {
            return Err(InvalidRange::OutOfBounds);
        }
        match RESERVED_IDS.into_iter().find(|id| range.contains(*id)) {
            Some(id) => Err(InvalidRange::Reserved(id)),
            None => Ok(range),
        }
    }
}

impl fmt::Display for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl<'de> Deserialize<'de> for UserRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// No id is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("all ids of sessions.users ({0}) are taken, by sessions and by the homes that are kept")]
pub struct NoneLeft(pub String);

/// Who has which id.
#[derive(Debug)]
pub struct Users {
    run_as: RunAs,
    /// Where in the range the search for a free id begins: after the last one that was given out. So an id is used again as late as
    /// possible, as files of its last session may still be in directories that all share.
    next: u32,
    /// Of sessions.
    held: BTreeMap<StreamerId, u32>,
    /// Of homes that wait for a session of their name.
    kept: BTreeMap<StreamerId, u32>,
}

impl Users {
    /// Nobody has any yet. The first id that is given out is the `start`th, counted around the range.
    pub fn new(run_as: RunAs, start: u32) -> Self {
        Self { run_as, next: start, held: BTreeMap::new(), kept: BTreeMap::new() }
    }

    /// The user of a session, who stays the same until [`Users::release`]. `None`: it runs as the server does.
    ///
    /// # Errors
    /// Each session needs one of its own, and all are taken.
    pub fn of(&mut self, id: &StreamerId) -> Result<Option<SessionUser>, NoneLeft> {
        match &self.run_as {
            RunAs::Server => Ok(None),
            RunAs::One(user) => Ok(Some(user.clone())),
            RunAs::Each(range) => self.one_of(*range, id).map(|uid| Some(SessionUser::numbered(uid))),
        }
    }

    fn one_of(&mut self, range: UserRange, id: &StreamerId) -> Result<u32, NoneLeft> {
        if let Some(uid) = self.held.get(id) {
            return Ok(*uid);
        }
        let others = self.taken_by_others(id);
        let own_home = self.kept.get(id).copied().filter(|uid| range.contains(*uid) && !others.contains(uid));
        let mut free = range.around(self.next).filter(|uid| !others.contains(uid));
        let uid = own_home.or_else(|| free.next()).ok_or_else(|| NoneLeft(range.to_string()))?;
        self.next = (uid - range.first).wrapping_add(1);
        self.held.insert(id.clone(), uid);
        Ok(uid)
    }

    /// What is there of a session belongs to `uid`: it is to have that again, unless it is out of range or somebody else's.
    pub fn claim(&mut self, id: &StreamerId, uid: u32) {
        if let RunAs::Each(range) = self.run_as
            && range.contains(uid)
            && !self.held.contains_key(id)
            && !self.taken_by_others(id).contains(&uid)
        {
            self.held.insert(id.clone(), uid);
        }
    }

    /// A home that is kept for sessions of this name belongs to `uid`.
    pub fn keep(&mut self, id: &StreamerId, uid: u32) {
        self.kept.insert(id.clone(), uid);
    }

    /// A session is gone; the home that it leaves behind, if any, belongs to `home`.
    pub fn release(&mut self, id: &StreamerId, home: Option<u32>) {
        self.held.remove(id);
        match home {
            Some(uid) => self.keep(id, uid),
            None => drop(self.kept.remove(id)),
        }
    }

    fn taken_by_others(&self, id: &StreamerId) -> BTreeSet<u32> {
        let all = self.held.iter().chain(&self.kept);
        all.filter(|(holder, _)| *holder != id).map(|(_, uid)| *uid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> StreamerId {
        StreamerId::parse(name).unwrap()
    }

    fn range(text: &str) -> UserRange {
        text.parse().unwrap()
    }

    fn users(text: &str) -> Users {
        Users::new(RunAs::Each(range(text)), 0)
    }

    fn uid(users: &mut Users, name: &str) -> Option<u32> {
        users.of(&id(name)).ok().map(|user| user.expect("each has one").uid())
    }

    #[test]
    fn a_range_is_two_ids_that_mean_nothing_else() {
        let refused = |text: &str| text.parse::<UserRange>().unwrap_err();
        assert_eq!(range("20000-20999").to_string(), "20000-20999");
        for text in ["", "20000", "20999-20000", "a-b", "-1-5", "20000-99999999999"] {
            assert_eq!(refused(text), InvalidRange::Syntax, "{text}");
        }
        for text in ["0-20000", "999-1001", "20000-4294967295"] {
            assert_eq!(refused(text), InvalidRange::OutOfBounds, "{text}");
        }
        assert_eq!(refused("60000-70000"), InvalidRange::Reserved(65_534));
    }

    #[test]
    fn a_range_with_ids_of_accounts_is_refused_by_their_names() {
        let check = |passwd, group, subuid| {
            range("20000-20999").check_free(passwd, group, subuid).map_err(|taken| (taken.name, taken.id))
        };
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:20999:100::/:/bin/sh\n";
        assert_eq!(check(passwd, "", ""), Err(("alice".to_owned(), 20_999)));
        assert_eq!(check("", "staff:x:20000:a,b\n", ""), Err(("staff".to_owned(), 20_000)));
        assert_eq!(check("", "", "bob:10000:65536\n"), Err(("bob".to_owned(), 20_000)));
        let passwd = "root:x:0:20500::/root:/bin/sh\nbroken\n";
        assert_eq!(check(passwd, "root:x:0:\n", "bob:100000:65536\ncarol:0:20000\n"), Ok(()));
    }

    #[test]
    fn each_session_has_an_id_of_its_own_until_it_is_gone() {
        let mut users = users("2000-2002");
        assert_eq!(uid(&mut users, "a"), Some(2000));
        assert_eq!(uid(&mut users, "b"), Some(2001));
        assert_eq!(uid(&mut users, "a"), Some(2000), "a later process is the same user");
        assert_eq!(uid(&mut users, "c"), Some(2002));
        assert_eq!(users.of(&id("d")), Err(NoneLeft("2000-2002".into())));
        users.release(&id("b"), None);
        users.release(&id("a"), None);
        assert_eq!(uid(&mut users, "d"), Some(2000));
        users.release(&id("d"), None);
        assert_eq!(uid(&mut users, "e"), Some(2001), "used again as late as possible");
    }

    #[test]
    fn an_id_stays_with_the_home_that_is_kept() {
        let mut users = users("2000-2001");
        users.keep(&id("alice"), 2000);
        assert_eq!(uid(&mut users, "a"), Some(2001));
        assert_eq!(uid(&mut users, "b"), None, "the other one is alice's");
        assert_eq!(uid(&mut users, "alice"), Some(2000));
        users.release(&id("alice"), Some(2000));
        assert_eq!(uid(&mut users, "b"), None);
        users.release(&id("alice"), None);
        assert_eq!(uid(&mut users, "b"), Some(2000), "the operator has removed it");
    }

    #[test]
    fn what_was_found_is_claimed_before_anything_is_given_out() {
        let mut users = users("2000-2002");
        users.claim(&id("running"), 2001);
        users.claim(&id("impostor"), 2001);
        users.claim(&id("of-an-earlier-range"), 500);
        assert_eq!(uid(&mut users, "impostor"), Some(2000));
        assert_eq!(uid(&mut users, "of-an-earlier-range"), Some(2002));
        assert_eq!(uid(&mut users, "running"), Some(2001));
    }

    #[test]
    fn where_all_are_one_user_none_is_given_out() {
        let mut users = Users::new(RunAs::Server, 7);
        users.claim(&id("a"), 2000);
        assert_eq!(users.of(&id("a")), Ok(None));
    }
}
