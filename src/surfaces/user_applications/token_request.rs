//! A request for a token. The vendor writes its members in several letter cases: its document `appID`, its guide `clientId`, its Python client
//! `AppId`; any case is read, and a member that stands twice in two cases is refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use utoipa::ToSchema;

use super::error::Problem;
use crate::kernel::Secret;

/// What is asked for, with members in any letter case; null and empty ones count as absent, unknown ones are passed over.
#[derive(Default, ToSchema)]
#[schema(as = UserApplicationsTokenRequest)]
pub(super) struct TokenRequest {
    /// `app_token`, `client_credentials`, `password` or `refresh_token`.
    #[schema(rename = "grantType", value_type = String, example = "client_credentials")]
    grant_type: Option<Secret>,
    /// The application's id.
    #[schema(rename = "clientID", value_type = Option<String>)]
    client_id: Option<Secret>,
    /// The application's secret.
    #[schema(rename = "clientSecret", value_type = Option<String>)]
    client_secret: Option<Secret>,
    /// An older name of `clientID`.
    #[schema(rename = "appID", value_type = Option<String>)]
    app_id: Option<Secret>,
    /// An older name of `clientSecret`.
    #[schema(rename = "appSecret", value_type = Option<String>)]
    app_secret: Option<Secret>,
    /// Of `password`: a login of the first tenant, or tenant and login as `tenant/login`.
    #[schema(value_type = Option<String>)]
    username: Option<Secret>,
    /// Of `password`.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// Of `refresh_token`: what an earlier answer gave.
    #[schema(rename = "refreshToken", value_type = Option<String>)]
    refresh_token: Option<Secret>,
    /// A member that stands in two letter cases.
    #[schema(ignore)]
    twice: Option<&'static str>,
}

impl<'de> Deserialize<'de> for TokenRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(AnyCase)
    }
}

struct AnyCase;

impl<'de> Visitor<'de> for AnyCase {
    type Value = TokenRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<TokenRequest, A::Error> {
        let mut request = TokenRequest::default();
        let mut seen: Vec<&'static str> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let name = name.to_ascii_lowercase();
            let (known, member) = match name.as_str() {
                "granttype" => ("grantType", &mut request.grant_type),
                "clientid" => ("clientID", &mut request.client_id),
                "clientsecret" => ("clientSecret", &mut request.client_secret),
                "appid" => ("appID", &mut request.app_id),
                "appsecret" => ("appSecret", &mut request.app_secret),
                "username" => ("username", &mut request.username),
                "password" => ("password", &mut request.password),
                "refreshtoken" => ("refreshToken", &mut request.refresh_token),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if seen.contains(&known) {
                request.twice = Some(known);
            }
            seen.push(known);
            *member = members.next_value::<Option<Secret>>()?.filter(|value| !value.expose().is_empty());
        }
        Ok(request)
    }
}

/// A member's text, where it is there.
fn text(member: Option<&Secret>) -> Option<&str> {
    member.and_then(|value| std::str::from_utf8(value.expose()).ok())
}

fn needs<'a>(name: &str, member: Option<&'a Secret>) -> Result<&'a str, Problem> {
    text(member).ok_or_else(|| Problem::missing(format!("{name}: is missing")))
}

/// A member under its two names: both may be given when they say the same.
fn either<'a>(name: &str, new: Option<&'a Secret>, old: Option<&'a Secret>) -> Result<&'a str, Problem> {
    match (text(new), text(old)) {
        (Some(new), Some(old)) if new != old => Err(Problem::invalid(format!("{name}: is given under two names with two values"))),
        (Some(given), _) | (None, Some(given)) => Ok(given),
        (None, None) => Err(Problem::missing(format!("{name}: is missing"))),
    }
}

impl TokenRequest {
    /// The grant.
    pub fn grant(&self) -> Result<&str, Problem> {
        if let Some(name) = self.twice {
            return Err(Problem::invalid(format!("{name}: is given twice, in two letter cases")));
        }
        needs("grantType", self.grant_type.as_ref())
    }

    /// An application's id and secret.
    pub fn application(&self) -> Result<(&str, &str), Problem> {
        let id = either("clientID", self.client_id.as_ref(), self.app_id.as_ref())?;
        Ok((id, either("clientSecret", self.client_secret.as_ref(), self.app_secret.as_ref())?))
    }

    /// A user's name and password.
    pub fn user(&self) -> Result<(&str, &Secret), Problem> {
        let name = needs("username", self.username.as_ref())?;
        Ok((name, self.password.as_ref().ok_or_else(|| Problem::missing("password: is missing"))?))
    }

    /// A refresh token.
    pub fn refresh_token(&self) -> Result<&str, Problem> {
        needs("refreshToken", self.refresh_token.as_ref())
    }
}
