//! Bounces and complaints of SES, through an SNS topic and an SQS queue.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use service::aws::SdkConfig;
use service::telemetry::with_causes;

use super::feedback::{FeedbackSource, QueuedNotice};

/// Long polling: how long the queue holds a request open (SQS allows 20 s), and the timeout of one request.
const WAIT: Duration = Duration::from_secs(20);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// Maximum number of notices per request, a limit of SQS.
const BATCH: i32 = 10;

/// The SQS queue that receives notices through an SNS topic. The queue's policy restricts writers, so its content is
/// trusted.
#[derive(Debug)]
pub struct FeedbackQueue {
    client: Client,
    url: String,
}

impl FeedbackQueue {
    pub(super) fn open(shared: &SdkConfig, url: &str) -> Self {
        // The endpoint is the host of the queue's URL.
        let host = url.find("://").and_then(|scheme| url[scheme + 3..].find('/').map(|end| scheme + 3 + end));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_LIMIT).build();
        let config = aws_sdk_sqs::config::Builder::from(shared)
            .timeout_config(timeouts)
            .endpoint_url(&url[..host.unwrap_or(url.len())]);
        Self { client: Client::from_conf(config.build()), url: url.to_owned() }
    }
}

#[async_trait]
impl FeedbackSource for FeedbackQueue {
    async fn receive(&self) -> Result<Vec<QueuedNotice>, String> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(i32::try_from(WAIT.as_secs()).unwrap_or(i32::MAX));
        let received = request.send().await.map_err(|error| with_causes(&error))?;
        let notices = received.messages.unwrap_or_default().into_iter();
        Ok(notices.filter_map(|m| Some(QueuedNotice { body: m.body?, receipt: m.receipt_handle? })).collect())
    }

    async fn delete(&self, notice: QueuedNotice) -> Result<(), String> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(notice.receipt);
        request.send().await.map(drop).map_err(|error| with_causes(&error))
    }
}
