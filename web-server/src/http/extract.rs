//! Extractors for handlers, with errors that name the offending part.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, web};
use common::api::SetClipboard;
use common::clipboard::{ClipboardType, Content, MAX_PICTURE};
use common::id::{PeerId, SlotIndex, StreamerId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::problem::ApiError;

/// Longest body of JSON in bytes: room for the longest clipboard, with most of its characters escaped.
pub const MAX_BODY: usize = 1024 * 1024;
/// Longest time for receiving a body; a slower one would occupy its connection.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The streamer that the path names, `{id}`.
#[derive(Debug, Clone)]
pub struct Id(pub StreamerId);

impl FromRequest for Id {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().query("id");
        ready(StreamerId::parse(text).map(Id).map_err(|error| ApiError::field("id", error.to_string())))
    }
}

/// The peer that the path names, `{peer_id}`.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub PeerId);

impl FromRequest for Peer {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().query("peer_id");
        let id = text.parse().map(|uuid| Peer(PeerId(uuid)));
        ready(id.map_err(|_| ApiError::field("peer_id", format!("must be a UUID, not {text:?}"))))
    }
}

/// The token that the path names, `{token_id}`.
#[derive(Debug, Clone, Copy)]
pub struct TokenId(pub common::id::TokenId);

impl FromRequest for TokenId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().query("token_id");
        let id = text.parse().map(|uuid| TokenId(common::id::TokenId(uuid)));
        ready(id.map_err(|_| ApiError::field("token_id", format!("must be a UUID, not {text:?}"))))
    }
}

/// The slot that the path names, `{slot}`.
#[derive(Debug, Clone, Copy)]
pub struct Slot(pub SlotIndex);

impl FromRequest for Slot {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().query("slot");
        let slot = text.parse().map(Slot);
        ready(
            slot.map_err(|_| ApiError::field("slot", format!("must be a small whole number, not {text:?}"))),
        )
    }
}

/// The source that the path names, `{name}`.
#[derive(Debug, Clone)]
pub struct SourceName(pub common::id::SourceName);

impl FromRequest for SourceName {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(SourceName(request.match_info().query("name").to_owned())))
    }
}

/// A body in JSON.
pub trait Json: DeserializeOwned {
    /// Finds what is wrong more exactly than decoding the whole can: path and message.
    fn locate(_body: &Value) -> Option<(String, String)> {
        None
    }
}

/// What a body in JSON can be read as: [`Json`], or one of several.
pub trait FromJson: Sized {
    /// Reads the body.
    ///
    /// # Errors
    /// The body is not of this type.
    fn from_json(bytes: &[u8]) -> Result<Self, ApiError>;
}

impl<T: Json> FromJson for T {
    fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        decode(bytes)
    }
}

/// The body, decoded.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: FromJson + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let right_type = has_media_type(request, "application/json");
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            if !right_type {
                return Err(ApiError::MediaType { expected: "application/json" });
            }
            let payload = payload.await.map_err(|error| ApiError::Unreadable(error.to_string()))?;
            T::from_json(&read(payload, MAX_BODY).await?).map(Body)
        })
    }
}

/// What is to be put on a clipboard: texts as JSON, or a picture as it is.
#[derive(Debug)]
pub struct Clip(pub Content);

impl FromRequest for Clip {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if has_media_type(request, ClipboardType::Png.media_type()) {
            let payload = web::Payload::from_request(request, payload);
            return Box::pin(async move {
                let payload = payload.await.map_err(|error| ApiError::Unreadable(error.to_string()))?;
                let png = read(payload, MAX_PICTURE).await?.to_vec();
                Ok(Self(Content { png: Some(png), ..Content::default() }))
            });
        }
        if !has_media_type(request, "application/json") {
            return Box::pin(ready(Err(ApiError::MediaType { expected: "application/json or image/png" })));
        }
        let body = Body::<SetClipboard>::from_request(request, payload);
        Box::pin(async move {
            let Body(SetClipboard { text, html }) = body.await?;
            Ok(Self(Content { text: Some(text), html, png: None }))
        })
    }
}

/// True when the request says that its body is of `expected`, whatever the parameters.
pub fn has_media_type(request: &HttpRequest, expected: &str) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(expected))
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// It is longer, too slow, or the connection ended.
pub async fn read(payload: web::Payload, max: usize) -> Result<Bytes, ApiError> {
    let read = timeout(BODY_DEADLINE, payload.to_bytes_limited(max)).await;
    match read.map_err(|_| ApiError::Slow(BODY_DEADLINE))? {
        Err(_) => Err(ApiError::TooLarge { max }),
        Ok(bytes) => bytes.map_err(|error| ApiError::Unreadable(error.to_string())),
    }
}

fn decode<T: Json>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take a list for the fields of an object in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::Json("must be an object, not a list".into()));
    }
    let mut decoder = serde_json::Deserializer::from_slice(bytes);
    let decoded = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if !error.is_data() {
            return ApiError::Json(error.to_string());
        }
        let located = serde_json::from_slice(bytes).ok().and_then(|value| T::locate(&value));
        let (path, message) = located.unwrap_or_else(|| (path, error.to_string()));
        ApiError::field(path, message)
    })?;
    decoder.end().map_err(|error| ApiError::Json(error.to_string()))?;
    Ok(decoded)
}

/// The query, as text by name. Every parameter must be known.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of `request`, which may hold `known`.
    ///
    /// # Errors
    /// It has another parameter, or the value is invalid.
    pub fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| ApiError::field("query", error.to_string()))?
            .into_inner();
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(ApiError::field(name, format!("unknown parameter; known are {}", known.join(", "))))
            }
            None => Ok(Self(pairs)),
        }
    }

    /// The value of a parameter, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The number that a parameter holds, if it is there.
    ///
    /// # Errors
    /// It has another parameter, or the value is invalid.
    pub fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().map(Some);
        number.map_err(|_| ApiError::field(name, format!("must be a small whole number, not {text:?}")))
    }

    /// A parameter that says how many there may be, from 1 to `most`.
    ///
    /// # Errors
    /// It is no such number.
    pub fn count(&self, name: &'static str, most: usize) -> Result<Option<usize>, ApiError> {
        match self.number(name)? {
            Some(count) if !(1..=most).contains(&count) => {
                Err(ApiError::field(name, format!("must be from 1 to {most}, not {count}")))
            }
            count => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::api::{CreateStreamer, ResizeRequest};

    fn problem<T: Json + std::fmt::Debug>(body: &str) -> common::api::Problem {
        decode::<T>(body.as_bytes()).expect_err(body).problem("r")
    }

    #[test]
    fn what_is_not_json_is_told_from_what_breaks_a_rule() {
        for body in ["", "{", "{\"width\":", "nonsense", "[]", " [0, 16, 16]", r#"{"width":16,"height":16}x"#]
        {
            let problem = problem::<ResizeRequest>(body);
            assert_eq!((problem.status, problem.code.as_str()), (400, "malformed_json"), "{body}");
        }
        let problem = problem::<ResizeRequest>(r#"{"width":"wide","height":16}"#);
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("invalid_field", Some("width")));
    }

    #[test]
    fn a_wrong_part_of_a_source_is_named_by_its_path() {
        for (body, field) in [
            (r#"{"source":{"type":"test","width":"x"}}"#, "source.width"),
            (r#"{"source":{"type":"test","widht":1}}"#, "source.widht"),
            (r#"{"source":{"type":"desktop","env":{"A":1}}}"#, "source.env.A"),
            (r#"{"source":{"type":"tset"}}"#, "source.type"),
            (r#"{"source":{}}"#, "source.type"),
            (r#"{"source":7}"#, "source"),
            (r#"{"source":{"type":"test"},"id":"a b"}"#, "id"),
            (r#"{"source":{"type":"test"},"slots":"many"}"#, "slots"),
            (r#"{"source":{"type":"test"},"extra":1}"#, "extra"),
        ] {
            assert_eq!(problem::<CreateStreamer>(body).field.as_deref(), Some(field), "{body}");
        }
        let unknown = problem::<CreateStreamer>(r#"{"source":{"type":"tset"}}"#);
        assert!(unknown.detail.contains("tset") && unknown.detail.contains("desktop"), "{}", unknown.detail);
    }
}
