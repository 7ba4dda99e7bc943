//! Lets a WebSocket in: by what its request brought, or by the token in its first message.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use common::access::Need;
use common::id::StreamerId;

use crate::api::problem::ApiError;
use crate::api::site::{self, Caller};
use crate::auth::{Auth, Right};
use crate::limits::Limits;

/// Of one WebSocket.
pub struct Gate {
    auth: Arc<Auth>,
    limits: Arc<Limits>,
    address: IpAddr,
    direct: bool,
    right: Right,
}

impl FromRequest for Gate {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let auth = request.app_data::<web::Data<Auth>>().expect("the server has one");
        let limits = request.app_data::<web::Data<Limits>>().expect("the server has them");
        let (auth, limits) = (auth.clone().into_inner(), limits.clone().into_inner());
        let opened = site::caller(request).and_then(|Caller { address, direct, right }| {
            // Something that is not valid is not as good as nothing.
            Ok(Self { auth, limits, address, direct, right: right? })
        });
        ready(opened.map_err(ApiError::from))
    }
}

impl Gate {
    /// The bounds of what comes through it.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    /// Whoever has opened it has still to say who that is.
    pub fn is_open_to_nobody(&self) -> bool {
        self.right == Right::Nobody
    }

    /// Waits until what it was opened by is revoked: a join may have been under way just then. Cancel safe.
    pub async fn revoked(&self) {
        self.auth.revoked(self.right.token()).await;
    }

    /// Whether that has happened.
    pub fn is_revoked(&self) -> bool {
        self.auth.is_revoked(self.right.token())
    }

    /// What the first message, with this token in it, gives the right to.
    ///
    /// # Errors
    /// Not to watch `streamer`, or one join too many.
    pub fn enter(&mut self, token: Option<&str>, streamer: &StreamerId) -> Result<Right, ApiError> {
        let in_band = self.is_open_to_nobody() && token.is_some();
        if in_band {
            self.right = site::login(&self.auth, &self.limits, token, self.address, self.direct)??;
        }
        self.right.permits(Need::Viewer, Some(streamer))?;
        if in_band && self.right != Right::Admin {
            self.limits.join(Instant::now(), self.address)?;
        }
        Ok(self.right.clone())
    }
}
