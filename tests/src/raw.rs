//! Raw HTTP requests: bytes that no client library would send.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Answer;

const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// Sends a request line and headers unchanged to a port of this machine and reads the response to its end. The path is not
/// escaped or normalised.
pub async fn get(port: u16, path: &str, headers: &[&str]) -> Result<Answer> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, exchange).await.context("no response")??;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the headers do not end")?;
    let mut lines = std::str::from_utf8(&answer[..end])?.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').context("not a header")?;
        Ok((name.parse::<reqwest::header::HeaderName>()?, value.trim().parse()?))
    });
    Ok(Answer { status, headers: headers.collect::<Result<_>>()?, body: answer[end + 4..].to_vec() })
}
