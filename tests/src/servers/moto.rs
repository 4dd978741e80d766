use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::client::client;
use crate::folder::Folder;

/// The sender of mails in tests.
pub const SENDER: &str = "no-reply@chorus.example";
const REGION: &str = "us-east-1";

/// The APIs of AWS, by moto: S3, SES and SQS among them.
#[derive(Debug)]
pub struct MotoServer {
    // Dropped before its folder.
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
        let program = program()?;
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

    /// Value for `CHORUS_MEDIA`: a bucket on the server, with a credentials file.
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

    /// Value for `CHORUS_MAIL`: SES at this address, which may be a fault proxy.
    pub fn mail_url_at(&self, endpoint: &str) -> String {
        let credentials = self.folder.path().join("credentials");
        format!("ses://{REGION}?endpoint={endpoint}&credentials_file={}", credentials.display())
    }

    /// Value for `CHORUS_MAIL`.
    pub fn mail_url(&self) -> String {
        self.mail_url_at(&self.endpoint())
    }

    /// Allows mails from [`SENDER`]; all others are refused.
    pub async fn verify_sender(&self) -> Result<()> {
        self.call("ses", Method::POST, "/v2/email/identities", &[], json!({ "EmailIdentity": SENDER }))
            .await?;
        Ok(())
    }

    /// Adds an address to the suppression list.
    pub async fn suppress(&self, address: &str) -> Result<()> {
        let body = json!({ "EmailAddress": address, "Reason": "BOUNCE" });
        self.call("ses", Method::PUT, "/v2/email/suppression/addresses", &[], body).await?;
        Ok(())
    }

    /// The mails that SES has accepted, in order.
    pub async fn mails(&self) -> Result<Vec<SentMail>> {
        let url = format!("{}/moto-api/data.json", self.endpoint());
        let info: Value = client().build()?.get(url).send().await?.json().await?;
        match info["ses"].get("RawMessage") {
            Some(mails) => Ok(serde_json::from_value(mails.clone())?),
            None => Ok(Vec::new()),
        }
    }

    /// Creates a queue and returns its URL.
    pub async fn queue(&self, name: &str) -> Result<String> {
        let made = self.queues("CreateQueue", json!({ "QueueName": name })).await?;
        Ok(made["QueueUrl"].as_str().context("no URL")?.to_owned())
    }

    pub async fn put_on_queue(&self, url: &str, message: &str) -> Result<()> {
        self.queues("SendMessage", json!({ "QueueUrl": url, "MessageBody": message })).await?;
        Ok(())
    }

    /// The number of messages in a queue, including received ones that are not deleted yet.
    pub async fn length_of_queue(&self, url: &str) -> Result<u64> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let info =
            self.queues("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": names })).await?;
        let numbers = names.map(|name| info["Attributes"][name].as_str().and_then(|n| n.parse::<u64>().ok()));
        numbers.into_iter().sum::<Option<u64>>().context("no number")
    }

    async fn queues(&self, action: &str, body: Value) -> Result<Value> {
        let target = format!("AmazonSQS.{action}");
        // The content type selects the JSON form of the protocol.
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
        // moto reads only the scope.
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

/// A mail as sent to SES.
#[derive(Debug, Clone, Deserialize)]
pub struct SentMail {
    pub id: String,
    /// Each twice: from the envelope and from the message.
    pub destinations: Vec<String>,
    /// The message with its headers.
    pub raw_data: String,
}

/// The interpreter that has the fetched packages.
pub(super) fn program() -> Result<PathBuf> {
    Ok(fetched("moto", "moto/complete")?.with_file_name("bin").join("python"))
}
