//! Which streamer has the peer of each ICE user name. The streamers say it; nothing of it is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::Handover;

/// Names that one streamer may say. Each of its peers has one.
const MAX_NAMES: usize = 16_384;

/// The way to a streamer's process.
pub type Route = mpsc::Sender<Handover>;

/// All names. All clones are the same. It is locked for a look only, and by nobody who serves media.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<HashMap<String, Route>>,
    changed: Notify,
}

/// The names of one streamer. They are forgotten when it is dropped.
#[derive(Debug)]
pub struct Names {
    routes: Routes,
    route: Route,
    count: usize,
}

impl Routes {
    /// The streamer of a name, once one has said that it has it. Cancel safe.
    pub async fn find(&self, ufrag: &str) -> Route {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that no change is missed.
            changed.as_mut().enable();
            if let Some(route) = self.0.lock().get(ufrag) {
                return route.clone();
            }
            changed.await;
        }
    }

    /// For the names of a streamer to which `route` leads.
    pub fn of_streamer(&self, route: Route) -> Names {
        Names { routes: self.clone(), route, count: 0 }
    }
}

impl Names {
    /// The streamer has the peer of this name. False when it has too many, or another one has said so: names are random, and nobody
    /// gets what is somebody else's.
    pub fn added(&mut self, ufrag: &str) -> bool {
        if self.count == MAX_NAMES {
            return false;
        }
        let mut names = self.routes.0.lock();
        match names.get(ufrag) {
            Some(route) => return route.same_channel(&self.route),
            None => drop(names.insert(ufrag.to_owned(), self.route.clone())),
        }
        drop(names);
        self.count += 1;
        self.routes.0.changed.notify_waiters();
        true
    }

    /// It has it no longer.
    pub fn removed(&mut self, ufrag: &str) {
        let mut names = self.routes.0.lock();
        if names.get(ufrag).is_some_and(|route| route.same_channel(&self.route)) {
            names.remove(ufrag);
            self.count -= 1;
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.routes.0.lock().retain(|_, route| !route.same_channel(&self.route));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Route>> {
        // Whoever panicked with it has changed one entry or none.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn route() -> Route {
        mpsc::channel(1).0
    }

    #[test]
    fn a_name_leads_to_the_streamer_that_has_said_it() {
        let routes = Routes::default();
        let one = route();
        let two = route();
        let mut of_one = routes.of_streamer(one.clone());
        let mut of_two = routes.of_streamer(two.clone());
        assert!(of_one.added("a") && of_two.added("b"));
        assert!(!of_two.added("a"), "it is another's");
        of_two.removed("a");
        let find = |name| routes.find(name).now_or_never();
        assert!(find("a").unwrap().same_channel(&one));
        assert!(find("b").unwrap().same_channel(&two));
        of_one.removed("a");
        assert!(find("a").is_none());
        drop(of_two);
        assert!(find("b").is_none());
    }

    #[test]
    fn who_asks_before_the_streamer_has_said_it_waits() {
        let routes = Routes::default();
        let mut names = routes.of_streamer(route());
        let mut found = Box::pin(routes.find("late"));
        assert!((&mut found).now_or_never().is_none());
        names.added("other");
        assert!((&mut found).now_or_never().is_none());
        names.added("late");
        assert!(found.now_or_never().is_some());
    }

    #[test]
    fn the_names_of_one_streamer_are_bounded() {
        let routes = Routes::default();
        let mut names = routes.of_streamer(route());
        assert!((0..MAX_NAMES).all(|n| names.added(&n.to_string())));
        assert!(!names.added("more"));
        names.removed("0");
        assert!(names.added("more"));
    }
}
