use std::error::Error;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, RawMessage};
use lettre::message::Mailbox;
use service::aws::SdkConfig;
use service::telemetry::with_causes;

use super::message::message;
use super::{Failure, Mail, MailError, Mailer};

/// The region of SES and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SesSettings {
    pub region: String,
    /// A custom endpoint instead of Amazon's.
    pub endpoint: Option<String>,
    /// File with access key and secret; see [`service::aws::load`].
    pub credentials_file: Option<PathBuf>,
    pub configuration_set: Option<String>,
    /// URL of the SQS queue for bounces and complaints.
    pub feedback_queue: Option<String>,
}

impl SesSettings {
    /// Parses the setting after `ses:`:
    /// `//<region>[?endpoint=…&credentials_file=…&configuration_set=…&feedback_queue=…]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(rest: &str) -> Result<Self, String> {
        let rest = rest.strip_prefix("//").unwrap_or_default();
        let (region, query) = rest.split_once('?').unwrap_or((rest, ""));
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err("mail by SES is written ses://<region>".to_owned());
        }
        let mut settings = Self {
            region: region.to_owned(),
            endpoint: None,
            credentials_file: None,
            configuration_set: None,
            feedback_queue: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "endpoint" => settings.endpoint = Some(value),
                "credentials_file" => settings.credentials_file = Some(value.into()),
                "configuration_set" => settings.configuration_set = Some(value),
                "feedback_queue" => settings.feedback_queue = Some(value),
                other => return Err(format!("`{other}` is not a setting of ses://")),
            }
        }
        Ok(settings)
    }
}

/// Mail by Amazon Simple Email Service (API version 2).
#[derive(Debug)]
pub struct Ses {
    client: Client,
    from: Mailbox,
    configuration_set: Option<String>,
}

impl Ses {
    pub(super) fn open(shared: &SdkConfig, settings: &SesSettings, from: Mailbox) -> Self {
        let mut config = aws_sdk_sesv2::config::Builder::from(shared)
            // SES has no idempotency key for sending, so only the ledger decides on retries.
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let client = Client::from_conf(config.build());
        Self { client, from, configuration_set: settings.configuration_set.clone() }
    }
}

#[async_trait]
impl Mailer for Ses {
    async fn send(&self, mail: &Mail) -> Result<String, MailError> {
        let unfit =
            |e: &(dyn Error + 'static)| MailError::new(Failure::Refused, "no message", with_causes(e));
        let raw = RawMessage::builder().data(Blob::new(message(mail, &self.from)?)).build();
        let content = EmailContent::builder().raw(raw.map_err(|e| unfit(&e))?).build();
        let sent = self
            .client
            .send_email()
            .from_email_address(self.from.email.to_string())
            .destination(Destination::builder().to_addresses(&mail.to).build())
            .content(content)
            .set_configuration_set_name(self.configuration_set.clone())
            .send()
            .await
            .map_err(|error| mail_error(&error))?;
        Ok(sent.message_id.unwrap_or_default())
    }

    async fn is_suppressed(&self, address: &str) -> Result<bool, MailError> {
        match self.client.get_suppressed_destination().email_address(address).send().await {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some("NotFoundException") => Ok(false),
            Err(error) => Err(mail_error(&error)),
        }
    }
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn mail_error<E, R>(error: &SdkError<E, R>) -> MailError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let (failure, code) = match error {
        SdkError::ConstructionFailure(_) => (Failure::Unavailable, "the request cannot be made"),
        SdkError::DispatchFailure(_) if may_have_arrived(error) => {
            (Failure::Unknown, "the connection was lost")
        }
        SdkError::DispatchFailure(_) => (Failure::Unavailable, "no connection, or no credentials"),
        SdkError::TimeoutError(_) => (Failure::Unknown, "no answer in time"),
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("unnamed");
            let refused = matches!(code, "MessageRejected" | "BadRequestException");
            (if refused { Failure::Refused } else { Failure::Unavailable }, code)
        }
        SdkError::ResponseError(_) | _ => (Failure::Unknown, "an answer that cannot be read"),
    };
    MailError::new(failure, code, with_causes(error))
}

/// True if a connection existed, so that the request may have arrived.
fn may_have_arrived(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return !error.is_connect();
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_parsed_from_their_url() {
        let settings = SesSettings::parse(
            "//eu-west-1?endpoint=http://h:1&credentials_file=/run/c&configuration_set=s&feedback_queue=http://q/1",
        );
        let settings = settings.unwrap();
        assert_eq!(settings.region, "eu-west-1");
        assert_eq!(settings.endpoint.as_deref(), Some("http://h:1"));
        assert_eq!(settings.credentials_file, Some("/run/c".into()));
        assert_eq!(settings.configuration_set.as_deref(), Some("s"));
        assert_eq!(settings.feedback_queue.as_deref(), Some("http://q/1"));
        for bad in ["", "//", "eu-west-1", "//eu west", "//eu-west-1?queue=x"] {
            assert!(SesSettings::parse(bad).is_err(), "{bad}");
        }
    }
}
