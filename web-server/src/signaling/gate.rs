//! Admits a WebSocket: by the token of its request, or by the one in its first message.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use common::access::Need;
use common::id::StreamerId;

use crate::auth::{Auth, Right};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller};
use crate::limits::Limits;

/// Who has opened a WebSocket, and what they may do.
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
        let auth = auth.clone().into_inner();
        let limits = limits.clone().into_inner();
        let opened = site::caller(request).and_then(|Caller { address, direct, right, .. }| {
            // An invalid token is refused, even where no token would be needed.
            Ok(Self { auth, limits, address, direct, right: right? })
        });
        ready(opened.map_err(ApiError::from))
    }
}

impl Gate {
    /// The limits of rates and lengths for the WebSocket.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    /// Whether the request had no token although one is needed: the first message must have one.
    pub fn is_anonymous(&self) -> bool {
        self.right == Right::Nobody
    }

    /// Waits until the token is revoked, which may have happened while the peer was joining. Cancel safe.
    pub async fn revoked(&self) {
        self.auth.revoked(self.right.token()).await;
    }

    /// Whether the token has been revoked.
    pub fn is_revoked(&self) -> bool {
        self.auth.is_revoked(self.right.token())
    }

    /// Decides what the client may do, with the token in its first message if the request brought none.
    ///
    /// # Errors
    /// The token is invalid or does not permit watching `streamer`, or its address has joined too often.
    pub fn enter(&mut self, token: Option<&str>, streamer: &StreamerId) -> Result<Right, ApiError> {
        let in_band = self.is_anonymous() && token.is_some();
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
