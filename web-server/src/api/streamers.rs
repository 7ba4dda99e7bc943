//! `/api/streamers` and `/api/streamers/{id}`.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use common::api::{CreateStreamer, Streamer, StreamerList};
use common::audit::AuditAction;
use common::cluster::Labels;
use common::exit::StreamerExit;
use common::id::{MAIN_SOURCE, StreamerId};
use common::lifetime::StreamerPatch;
use common::restart::LastEnd;
use common::signal::StreamerState;
use common::slots::Pixel;
use common::spec::{
    DesktopSpec, ExecSpec, FfmpegSpec, MoonlightSpec, RtspSpec, SourceSpec, StreamerSpec, TestSpec,
    WindowSpec, hide_addresses,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::nodes;
use super::sources::allowed;
use crate::auth::Right;
use crate::cluster::Membership;
use crate::compat::multi_webrtc::{self, answer};
use crate::hosts::Hosts;
use crate::http::extract::{Body, FromJson, Id, Json, Query};
use crate::http::problem::ApiError;
use crate::http::site::{Caller, Site};
use crate::registry::Handle;
use crate::registry::request::{Admission, Denied};

/// Most streamers of a page.
const MAX_PAGE: usize = 1000;
/// Longest wait for the position of the pointer; streamers reply within a few milliseconds, or a quarter of a second if their X server does not.
const POINTER_PATIENCE: Duration = Duration::from_millis(500);

/// Create a streamer.
///
/// Returns at once with state `starting`; with `wait=running`, when its source runs or has failed.
/// Repeating the same request is harmless: it returns the existing streamer, whose lifetime does not change.
/// Bodies in the words of another server (`docs/COMPAT.md`) are taken as well; their response is 200.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers", tag = "streamers", operation_id = "create_streamer",
    params(("wait" = Option<String>, Query, description = "`running`: return when the source runs")),
    request_body = CreateStreamer,
    responses(
        (status = 201, description = "Created", body = Streamer,
         headers(("Location" = String, description = "Path of the streamer"))),
        (status = 200, description = "It is already there with the same spec", body = Streamer),
        (status = 409, description = "The id is taken by another spec, or the streamer is stopping"),
    ),
)]
pub async fn create(
    request: HttpRequest,
    body: Body<Create>,
    caller: Caller,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
    hosts: web::Data<Hosts>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let wait = waits(&request)?;
    let foreign = matches!(body.0, Create::MultiWebrtc(_));
    let mut labels = Labels::new();
    let (id, spec, lifetime) = match body.0 {
        Create::Ours(mut body) => {
            labels = body.placement.take().unwrap_or_default().labels;
            body.into_parts()
        }
        Create::MultiWebrtc(body) => {
            let (id, spec) = body.into_spec(|host| hosts.find(host))?;
            spec.validate().map_err(multi_webrtc::create::in_its_words)?;
            (Some(id), spec, StreamerPatch::default())
        }
    };
    let spec = check(spec, lifetime, &site, &hosts)?;
    let by = caller.right?.name();
    let mut created = nodes::create(&cluster, &registry, id, spec, lifetime, labels, &by).await?;
    if wait {
        let streamer = registry.wait_started(&created.streamer.id).await?;
        created.streamer = Streamer { node: created.streamer.node, ..streamer };
    }
    let mut response = match created.how {
        Admission::Create if !foreign => HttpResponse::Created(),
        // Those who speak so take anything but 200 for a failure.
        Admission::Create | Admission::Existing => HttpResponse::Ok(),
    };
    let location = site.path(&format!("/api/streamers/{}", created.streamer.id));
    Ok(response.insert_header((header::LOCATION, location)).json(answer::streamer(&created.streamer)))
}

/// Whether a request waits until the source runs.
///
/// # Errors
/// The query has something else.
pub(super) fn waits(request: &HttpRequest) -> Result<bool, ApiError> {
    match Query::of(request, &["wait"])?.get("wait") {
        None => Ok(false),
        Some("running") => Ok(true),
        Some(other) => Err(ApiError::field("wait", format!("can be \"running\", not {other:?}"))),
    }
}

/// A spec as it is to be kept, if it is valid and the configuration allows it.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(
    spec: StreamerSpec,
    lifetime: StreamerPatch,
    site: &Site,
    hosts: &Hosts,
) -> Result<StreamerSpec, ApiError> {
    let spec = spec.as_given();
    spec.validate()?;
    lifetime.validate()?;
    for (name, source) in &spec.sources {
        allowed(source, &format!("sources.{name}"), site)?;
    }
    if let Some(source) = &spec.source {
        allowed(source, "source", site)?;
    }
    // What is found wrong here needs no streamer to find it out. It is resolved again when one is started.
    spec.clone().try_map_sources(|source| hosts.resolve(source))?;
    Ok(spec)
}

/// List all streamers.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers", tag = "streamers", operation_id = "list_streamers",
    params(
        ("node" = Option<String>, Query, description = "Those of this node of the cluster alone"),
        ("limit" = Option<u16>, Query, description = "Most streamers, 1..=1000; all if absent"),
        ("after" = Option<String>, Query, description = "Only streamers with a later id: `next` of the page before"),
    ),
    responses((status = 200, description = "In order of ids; without `limit` all", body = StreamerList)),
)]
pub async fn list(
    request: HttpRequest,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["node", "limit", "after"])?;
    let limit = query.count("limit", MAX_PAGE)?;
    let after = query.get("after").map(StreamerId::parse).transpose();
    let after = after.map_err(|error| ApiError::field("after", error.to_string()))?;
    let node = query.get("node").map(str::to_owned);
    // One more, to know whether any follow.
    let wanted = Wanted { node, after, limit: limit.map(|limit| limit + 1) };
    let mut streamers = of_all_nodes(&registry, &cluster, &wanted).await?;
    let more = limit.is_some_and(|limit| streamers.len() > limit);
    streamers.truncate(limit.unwrap_or(usize::MAX));
    let next = streamers.last().map(|streamer| streamer.id.clone()).filter(|_| more);
    Ok(HttpResponse::Ok().json(answer::streamers(&StreamerList { streamers, next })))
}

/// Which streamers are listed.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Those of this node alone.
    node: Option<String>,
    /// Those with a later id.
    after: Option<StreamerId>,
    /// So many at most.
    limit: Option<usize>,
}

/// The streamers of this node as they are, and those of other nodes as they were lately, in order of ids.
///
/// # Errors
/// We are shutting down.
pub(super) async fn of_all_nodes(
    registry: &Handle,
    cluster: &Membership,
    wanted: &Wanted,
) -> Result<Vec<Streamer>, ApiError> {
    let Wanted { node, after, limit } = wanted;
    let mut streamers = registry.list().await?;
    if let Some(cluster) = cluster {
        // What is about to end here, as another node has it, is listed there.
        streamers.retain(|streamer| cluster.elsewhere(&streamer.id).is_none());
        for streamer in &mut streamers {
            streamer.node = Some(cluster.name().to_owned());
        }
        let known: BTreeSet<_> = streamers.iter().map(|streamer| streamer.id.clone()).collect();
        let pending = cluster.pending().into_iter().filter(|streamer| !known.contains(&streamer.id));
        streamers.extend(pending);
        let others = cluster.others(node.as_deref(), after.as_ref(), limit.unwrap_or(usize::MAX));
        streamers.extend(others.into_iter().filter(|streamer| !known.contains(&streamer.id)));
        streamers.sort_by(|a, b| a.id.cmp(&b.id));
    }
    streamers.retain(|streamer| {
        let later = after.as_ref().is_none_or(|after| streamer.id > *after);
        later && node.as_ref().is_none_or(|node| streamer.node.as_ref() == Some(node))
    });
    streamers.truncate(limit.unwrap_or(usize::MAX));
    Ok(streamers)
}

/// Get one streamer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}", tag = "streamers", operation_id = "get_streamer",
    params(("id" = String, Path, description = "Its name")),
    responses((status = 200, description = "State, slots, peers and counters", body = Streamer)),
)]
pub async fn get(
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let mut streamer = match (registry.get(&id.0).await, &cluster) {
        (Err(Denied::NotFound(id)), Some(cluster)) => {
            cluster.unserved(&id).ok_or(ApiError::Denied(Denied::NotFound(id)))?
        }
        (streamer, cluster) => {
            let node = cluster.as_ref().map(|cluster| cluster.name().to_owned());
            Streamer { node, ..streamer? }
        }
    };
    if streamer.state == StreamerState::Running
        && let Some(SourceSpec::Desktop(_)) = streamer.spec.source
    {
        streamer.pointer = pointer(&id.0, &registry).await;
    }
    if caller.right? != Right::Admin {
        // How it was made is between admins: environments and command lines hold secrets.
        streamer.spec = streamer.spec.without_programs();
        // Where sources come from is, too.
        streamer.reason = streamer.reason.as_deref().map(hide_addresses);
        streamer.exit = streamer.exit.map(StreamerExit::without_addresses);
        // So may logs, of programs that are not ours.
        streamer.restarts.last = streamer.restarts.last.map(LastEnd::without_log);
    }
    Ok(HttpResponse::Ok().json(answer::streamer(&streamer)))
}

/// Where the pointer of a desktop is. What cannot be known at once is not waited for: all else is known here.
async fn pointer(id: &StreamerId, registry: &Handle) -> Option<Pixel> {
    let asked = tokio::time::timeout(POINTER_PATIENCE, registry.list_sources(id)).await;
    let sources = asked.ok()?.ok()?.sources;
    sources.into_iter().find(|source| source.name == MAIN_SOURCE)?.pointer
}

/// Change the lifetime of a streamer.
///
/// Absent fields stay as they are. Times count from now, so that a backend that still needs a streamer can extend its lifetime.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    patch, path = "/api/streamers/{id}", tag = "streamers", operation_id = "patch_streamer",
    params(("id" = String, Path, description = "Its name")),
    request_body = StreamerPatch,
    responses(
        (status = 200, description = "As it is now", body = Streamer),
        (status = 409, description = "The streamer is stopping"),
    ),
)]
pub async fn patch(
    id: Id,
    body: Body<StreamerPatch>,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    body.0.validate()?;
    Ok(HttpResponse::Ok().json(registry.patch(&id.0, body.0, &caller.right?.name()).await?))
}

/// End a streamer and everything it started.
///
/// Returns when nothing of it is left: no process, no socket, no file, and nothing that would start it again.
/// One of a node of the cluster that is lost is not started again by anybody, and ends when that node comes back.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}", tag = "streamers", operation_id = "delete_streamer",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone, also after a crash of the server"),
        (status = 507, description = "Ended, but a server that is started before this can be written starts it again"),
    ),
)]
pub async fn delete(
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let by = caller.right?.name();
    match (registry.delete(&id.0, &by).await, cluster) {
        (Ok(()), Some(cluster)) => cluster.release(&id.0).await,
        (Err(Denied::NotFound(id)), Some(cluster)) => {
            if !cluster.discard(&id).await? {
                return Err(Denied::NotFound(id).into());
            }
            registry.audit(&id, AuditAction::Deleted, &by, Some("its node is lost".into()));
        }
        (deleted, _) => deleted?,
    }
    Ok(HttpResponse::NoContent().finish())
}

/// What is wrong with a source at `path`: a tagged enum is decoded in one piece, and its errors name only the whole;
/// decoding the variant by itself finds the field in it.
pub(super) fn locate_source(source: &Value, path: &str) -> Option<(String, String)> {
    let mut fields = source.as_object()?.clone();
    let kind = fields.remove("type");
    let error = match kind.as_ref().and_then(Value::as_str) {
        Some("desktop") => error_in::<DesktopSpec>(fields.into()),
        Some("test") => error_in::<TestSpec>(fields.into()),
        Some("window") => error_in::<WindowSpec>(fields.into()),
        Some("rtsp") => error_in::<RtspSpec>(fields.into()),
        Some("ffmpeg") => error_in::<FfmpegSpec>(fields.into()),
        Some("exec") => error_in::<ExecSpec>(fields.into()),
        Some("moonlight") => error_in::<MoonlightSpec>(fields.into()),
        _ => {
            let error = serde_json::from_value::<SourceSpec>(source.clone()).err()?;
            Some(("type".into(), error.to_string()))
        }
    };
    error.map(|(field, message)| (format!("{path}.{field}"), message))
}

impl Json for StreamerPatch {}
/// The body of [`create`], of this API or of another server's.
#[derive(Debug)]
pub enum Create {
    /// A body of this API.
    Ours(CreateStreamer),
    /// A body of [`multi_webrtc`].
    MultiWebrtc(multi_webrtc::create::CreateStreamer),
}

impl FromJson for Create {
    fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        let body = serde_json::from_slice::<Map<String, Value>>(bytes);
        match body.is_ok_and(|body| multi_webrtc::create::speaks(&body)) {
            true => FromJson::from_json(bytes).map(Self::MultiWebrtc),
            false => FromJson::from_json(bytes).map(Self::Ours),
        }
    }
}

impl Json for CreateStreamer {
    fn locate(body: &Value) -> Option<(String, String)> {
        locate_sources(body)
    }
}

/// What is wrong with the sources of a body.
pub(super) fn locate_sources(body: &Value) -> Option<(String, String)> {
    let main = body.get("source").and_then(|source| locate_source(source, "source"));
    main.or_else(|| {
        let named = body.get("sources")?.as_object()?.iter();
        named.filter_map(|(name, source)| locate_source(source, &format!("sources.{name}"))).next()
    })
}

impl Json for multi_webrtc::create::CreateStreamer {}

fn error_in<T: DeserializeOwned>(source: Value) -> Option<(String, String)> {
    let error = serde_path_to_error::deserialize::<_, T>(source).err()?;
    Some((error.path().to_string(), error.inner().to_string()))
}
