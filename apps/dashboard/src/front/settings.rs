//! The knobs: how the services behave, and which policies the page is made with.

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::Front;
use crate::http::{Body, Call, Problem, json, problem, read_body};
use crate::page::Policies;
use crate::upstream::{Behavior, PerService};

/// All that the knobs turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How each service behaves.
    pub services: PerService<Behavior>,
    /// How the page is put together.
    pub policies: Policies,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            services: Behavior::by_design(),
            policies: Policies::default(),
        }
    }
}

impl Settings {
    fn read(body: &[u8]) -> Result<Self, String> {
        let settings: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        settings.policies.check()?;
        for (name, behavior) in settings.services {
            behavior
                .check()
                .map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(settings)
    }
}

impl Front {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            services: self.controls.behaviors(),
            policies: self.builder.policies(),
        }
    }

    /// Changes all or, where something is wrong, nothing.
    pub(super) async fn set(&self, call: Call) -> Response<Body> {
        let body = match read_body(&call.ctx, &self.limits, call.request.into_body()).await {
            Ok(body) => body,
            Err((status, text)) => return problem(status, &text),
        };
        match Settings::read(&body) {
            Ok(settings) => {
                self.controls.set_behaviors(settings.services);
                self.builder.set_policies(settings.policies);
                json(StatusCode::OK, &self.settings())
            }
            Err(wrong) => problem(StatusCode::BAD_REQUEST, &Problem::new(wrong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(from: &str, to: &str) -> Result<Settings, String> {
        let json = serde_json::to_string(&Settings::default()).unwrap();
        assert!(json.contains(from), "{json}");
        Settings::read(json.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn settings_are_read_back_as_written() {
        assert_eq!(changed("1000", "1000"), Ok(Settings::default()));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(changed(r#""delay_ms":20"#, r#""delay_ms":60000"#).is_ok());
        let wrong = changed(r#""delay_ms":20"#, r#""delay_ms":60001"#);
        assert_eq!(wrong, Err("profile: delay_ms is at most 60000".to_owned()));
        assert!(changed(r#""failure_percent":0"#, r#""failure_percent":100"#).is_ok());
        assert!(changed(r#""failure_percent":0"#, r#""failure_percent":101"#).is_err());
        for (timeout, fine) in [
            ("9", false),
            ("10", true),
            ("10000", true),
            ("10001", false),
        ] {
            assert_eq!(changed("1000", timeout).is_ok(), fine, "{timeout}");
        }
    }

    #[test]
    fn settings_of_another_form_are_refused() {
        assert!(changed(r#""hang":false"#, r#""hang":"no""#).is_err());
        assert!(changed(r#""hang":false"#, r#""hangs":false"#).is_err());
        assert!(changed(r#""delay_ms":20"#, r#""delay_ms":-1"#).is_err());
        assert!(Settings::read(b"").is_err());
        assert!(Settings::read(b"\xff\xfe").is_err());
    }
}
