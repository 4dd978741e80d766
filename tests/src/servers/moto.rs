use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::client::client;
use crate::folder::Folder;

/// Whom mails are from in tests.
pub const SENDER: &str = "no-reply@chorus.example";
const REGION: &str = "us-east-1";

/// The APIs of Amazon over HTTP, by moto: S3, SES and SQS among them.
#[derive(Debug)]
pub struct MotoServer {
    // Stopped before its folder goes.
    process: ServerProcess,
    port: u16,
    folder: Folder,
}

impl MotoServer {
    pub async fn start() -> Result<Self> {
        let (folder, port) = (Folder::new()?, free_port()?);
        let credentials = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
        std::fs::write(folder.path().join("credentials"), credentials)?;
        let mut server = Self { process: Self::spawn(&folder, port)?, port, folder };
        server.process.listens_on(port).await?;
        Ok(server)
    }

    fn spawn(folder: &Folder, port: u16) -> Result<ServerProcess> {
        let program = fetched("moto", "moto/complete")?.with_file_name("bin").join("python");
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/moto_server.py").display().to_string();
        let arguments = [&script, "-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        ServerProcess::start(&program, &arguments, &[], &folder.path().join("moto.log"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Value for `CHORUS_MEDIA`: a bucket on the server, and a file with what lets one in.
    pub fn media_url(&self, bucket: &str) -> String {
        let credentials = self.folder.path().join("credentials");
        format!("s3://{bucket}?endpoint={}&credentials_file={}", self.endpoint(), credentials.display())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again, empty.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder, self.port)?;
        self.process.listens_on(self.port).await
    }

    /// Value for `CHORUS_MAIL`: SES at this address, which may be a cable to the server.
    pub fn mail_url_at(&self, endpoint: &str) -> String {
        let credentials = self.folder.path().join("credentials");
        format!("ses://{REGION}?endpoint={endpoint}&credentials_file={}", credentials.display())
    }

    /// Value for `CHORUS_MAIL`.
    pub fn mail_url(&self) -> String {
        self.mail_url_at(&self.endpoint())
    }

    /// Lets mails be from [`SENDER`]; any others are refused.
    pub async fn verify_sender(&self) -> Result<()> {
        self.call("ses", Method::POST, "/v2/email/identities", &[], json!({ "EmailIdentity": SENDER }))
            .await?;
        Ok(())
    }

    /// Puts an address on the list of those that nothing is sent to.
    pub async fn suppress(&self, address: &str) -> Result<()> {
        let body = json!({ "EmailAddress": address, "Reason": "BOUNCE" });
        self.call("ses", Method::PUT, "/v2/email/suppression/addresses", &[], body).await?;
        Ok(())
    }

    /// The mails that SES has taken, in order.
    pub async fn mails(&self) -> Result<Vec<SentMail>> {
        let url = format!("{}/moto-api/data.json", self.endpoint());
        let told: Value = client().build()?.get(url).send().await?.json().await?;
        match told["ses"].get("RawMessage") {
            Some(mails) => Ok(serde_json::from_value(mails.clone())?),
            None => Ok(Vec::new()),
        }
    }

    /// Makes a queue; its URL.
    pub async fn queue(&self, name: &str) -> Result<String> {
        let made = self.queues("CreateQueue", json!({ "QueueName": name })).await?;
        Ok(made["QueueUrl"].as_str().context("no URL")?.to_owned())
    }

    pub async fn put_on_queue(&self, url: &str, message: &str) -> Result<()> {
        self.queues("SendMessage", json!({ "QueueUrl": url, "MessageBody": message })).await?;
        Ok(())
    }

    /// How many messages lie in a queue, those included that somebody has received and not yet taken off.
    pub async fn length_of_queue(&self, url: &str) -> Result<u64> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let told =
            self.queues("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": names })).await?;
        let numbers = names.map(|name| told["Attributes"][name].as_str().and_then(|n| n.parse::<u64>().ok()));
        numbers.into_iter().sum::<Option<u64>>().context("no number")
    }

    async fn queues(&self, action: &str, body: Value) -> Result<Value> {
        let target = format!("AmazonSQS.{action}");
        // By the content type it knows which form of the protocol is spoken.
        let headers = [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-json-1.0")];
        self.call("sqs", Method::POST, "/", &headers, body).await
    }

    async fn call(
        &self,
        service: &str,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Value,
    ) -> Result<Value> {
        // It looks at nothing but the scope.
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = client()
            .build()?
            .request(method, format!("{}{path}", self.endpoint()))
            .header("authorization", signed);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.json(&body).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{status} {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// A mail as SES was given it.
#[derive(Debug, Clone, Deserialize)]
pub struct SentMail {
    pub id: String,
    /// Each twice: from the envelope and from the message.
    pub destinations: Vec<String>,
    /// The message with its headers.
    pub raw_data: String,
}
