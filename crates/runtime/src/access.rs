//! Who may read a page: whom the API server knows by a bearer token (`TokenReview`) and allows it to
//! (`SubjectAccessReview` of the path), as servers of controller-runtime do it.
//!
//! ```text
//!   Authorization: Bearer … ─▶ cache ──known──▶ 200, 401 or 403
//!                                └──▶ TokenReview ─▶ SubjectAccessReview ─▶ cache
//! ```
//! What the API server said is good for a while, so that a scrape does not cost two requests each
//! time, and strangers cannot make it busy: few are asked for in a second. Who was allowed goes on
//! for an hour while the API server does not answer: that is when metrics are wanted.

mod cache;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next as Inner;
use axum::response::{IntoResponse as _, Response};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use cache::{Answer, Cache, Key, Next};

/// How long both questions together may take; whoever asked waits no longer than 10 s.
const TIMEOUT: Duration = Duration::from_secs(7);
/// How many are asked for at the same time.
const AT_ONCE: usize = 4;

/// Lets through who may read a path.
pub(crate) struct Access {
    client: Client,
    path: &'static str,
    cache: Mutex<Cache>,
    asking: Semaphore,
    failing: AtomicBool,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// For those who may `get` this path, as a rule with `nonResourceURLs` says it.
    pub(crate) fn new(client: Client, path: &'static str) -> Self {
        Self {
            client,
            path,
            cache: Mutex::default(),
            asking: Semaphore::new(AT_ONCE),
            failing: AtomicBool::new(false),
        }
    }

    /// `None`: it cannot be found out now.
    async fn answer(&self, token: &str) -> Option<Answer> {
        let mut key: Key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let next = self.cache().next(Instant::now(), &key);
        match next {
            Next::Known(answer) => return Some(answer),
            Next::Busy => return None,
            Next::Ask => {}
        }
        let reviewed = tokio::time::timeout(TIMEOUT, async {
            // Nobody closes the semaphore.
            let _turn = self.asking.acquire().await.ok();
            self.review(token).await
        });
        let error = match reviewed.await {
            Ok(Ok(answer)) => {
                self.failing.store(false, Ordering::Relaxed);
                self.cache().said(Instant::now(), key, answer);
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event = "accessUnknown",
                path = self.path,
                error,
                "cannot find out who may read the page; check the API server and the RBAC of \
                 tokenreviews and subjectaccessreviews (create)"
            );
        }
        let trusted = self.cache().is_trusted(Instant::now(), &key);
        trusted.then_some(Answer::Allowed)
    }

    async fn review(&self, token: &str) -> kube::Result<Answer> {
        let params = PostParams::default();
        let question = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let known = reviews.create(&params, &question).await?.status;
        let known = known.filter(|status| status.authenticated == Some(true));
        let Some(user) = known.and_then(|status| status.user) else {
            return Ok(Answer::Unknown);
        };
        let question = SubjectAccessReview {
            spec: self.may_read(user),
            ..SubjectAccessReview::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let status = reviews.create(&params, &question).await?.status;
        Ok(if status.is_some_and(|status| status.allowed) {
            Answer::Allowed
        } else {
            Answer::Forbidden
        })
    }

    fn may_read(&self, user: UserInfo) -> SubjectAccessReviewSpec {
        SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(self.path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a request only if its sender may read the page.
pub(crate) async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    inner: Inner,
) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return unauthorized("send a bearer token");
    };
    match access.answer(token).await {
        Some(Answer::Allowed) => inner.run(request).await,
        Some(Answer::Unknown) => unauthorized("the API server does not know this token"),
        Some(Answer::Forbidden) => {
            let path = access.path;
            let why = format!("a role with nonResourceURLs [{path}] and the verb get is missing\n");
            (StatusCode::FORBIDDEN, why).into_response()
        }
        None => {
            let why = "cannot find out who may read this: try again\n";
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
    }
}

fn unauthorized(why: &str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, format!("{why}\n")).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
