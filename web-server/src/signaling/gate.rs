//! Lets a WebSocket in: by what its request brought, or by the token in its first message.

use std::net::IpAddr;
use std::sync::Arc;

use common::access::Need;
use common::id::StreamerId;

use crate::api::problem::ApiError;
use crate::api::site::{self, Caller};
use crate::auth::{Auth, Refused, Right};
use crate::limits::Limits;

/// Of one WebSocket.
pub struct Gate {
    auth: Arc<Auth>,
    limits: Arc<Limits>,
    address: IpAddr,
    direct: bool,
    right: Right,
}

impl Gate {
    /// For who has opened it.
    ///
    /// # Errors
    /// The request brought something that is not valid.
    pub fn new(caller: Caller, auth: Arc<Auth>, limits: Arc<Limits>) -> Result<Self, Refused> {
        let Caller { address, direct, right } = caller;
        Ok(Self { auth, limits, address, direct, right: right? })
    }

    /// Whoever has opened it has still to say who that is.
    pub fn is_open_to_nobody(&self) -> bool {
        self.right == Right::Nobody
    }

    /// What the first message, with this token in it, gives the right to.
    ///
    /// # Errors
    /// Not to watch `streamer`.
    pub fn enter(&mut self, token: Option<&str>, streamer: &StreamerId) -> Result<Right, ApiError> {
        if self.is_open_to_nobody() && token.is_some() {
            self.right = site::login(&self.auth, &self.limits, token, self.address, self.direct)??;
        }
        self.right.permits(Need::Viewer, Some(streamer))?;
        Ok(self.right.clone())
    }
}
