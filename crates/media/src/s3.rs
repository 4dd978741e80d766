use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use crate::{BUFFER, Listed, Listing, MediaError, MediaKey, MediaObject, MediaStore, Part};
use service::aws;
use service::telemetry::with_causes;

/// Maximum number of attempts per request.
const ATTEMPTS: u32 = 2;
/// Files up to this size are stored in one request; larger ones in parts of it, each streamed from the disk. S3 requires at
/// least 5 MiB a part and at most 10,000 parts.
const PART_SIZE: u64 = 16 * 1024 * 1024;

/// The S3 bucket and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    pub bucket: String,
    /// The prefix of all keys; empty or ending in a slash.
    pub prefix: String,
    pub region: Option<String>,
    /// A custom endpoint instead of Amazon's.
    pub endpoint: Option<String>,
    /// The endpoint for browsers: requests are redirected there, with temporary signed links.
    pub public_endpoint: Option<String>,
    /// File with access key and secret, in the format of the AWS tools. Without one, credentials come from the same
    /// sources as for those tools: environment, files, the role of the machine or task.
    pub credentials_file: Option<PathBuf>,
}

impl S3Settings {
    /// Parses the setting after `s3:`:
    /// `//<bucket>[/<prefix>][?region=…&endpoint=…&public_endpoint=…&credentials_file=…]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(rest: &str) -> Result<Self, String> {
        let rest = rest.strip_prefix("//").ok_or("an S3 media store is written s3://<bucket>")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err("an S3 media store needs a bucket: s3://<bucket>".to_owned());
        }
        let prefix = prefix.trim_matches('/');
        let mut settings = Self {
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            region: None,
            endpoint: None,
            public_endpoint: None,
            credentials_file: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "region" => settings.region = Some(value),
                "endpoint" => settings.endpoint = Some(value),
                "public_endpoint" => settings.public_endpoint = Some(value),
                "credentials_file" => settings.credentials_file = Some(value.into()),
                other => return Err(format!("`{other}` is not a setting of an S3 media store")),
            }
        }
        Ok(settings)
    }
}

/// The media store in an S3 bucket.
#[derive(Debug)]
pub struct S3Media {
    client: Client,
    public: Option<Client>,
    bucket: String,
    prefix: String,
}

impl S3Media {
    pub async fn open(settings: &S3Settings) -> Self {
        // Other implementations mostly ignore the region, but the signature contains one.
        let default_region = settings.endpoint.as_ref().map(|_| "us-east-1".to_owned());
        let region = settings.region.clone().or(default_region);
        let shared = aws::load(region, settings.credentials_file.as_deref()).await;
        let client_of = |endpoint: Option<&String>| {
            let mut config = aws_sdk_s3::config::Builder::from(&shared)
                .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
            if let Some(endpoint) = endpoint {
                // Most other implementations do not have a host name per bucket.
                config = config.endpoint_url(endpoint).force_path_style(true);
            }
            Client::from_conf(config.build())
        };
        let media = Self {
            client: client_of(settings.endpoint.as_ref()),
            public: settings.public_endpoint.as_ref().map(|endpoint| client_of(Some(endpoint))),
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
        };
        if settings.endpoint.is_some() {
            media.prepare().await;
        }
        media
    }

    fn name(&self, key: &MediaKey) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl MediaStore for S3Media {
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .content_type(key.content_type())
            .cache_control(super::CACHE_CONTROL)
            .body(ByteStream::from(content))
            .send()
            .await
            .map(drop)
            .map_err(MediaError::unavailable)
    }

    async fn put_file(&self, key: &MediaKey, file: &Path) -> Result<(), MediaError> {
        let size = tokio::fs::metadata(file).await.map_err(MediaError::unavailable)?.len();
        if size > PART_SIZE {
            return self.put_parts(key, file, size).await;
        }
        let request = self.client.put_object().bucket(&self.bucket).key(self.name(key));
        request
            .content_type(key.content_type())
            .cache_control(super::CACHE_CONTROL)
            .body(file_part(file, 0, size).await?)
            .send()
            .await
            .map(drop)
            .map_err(MediaError::unavailable)
    }

    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError> {
        let range = part.map(|part| match part {
            Part::From(from, Some(to)) => format!("bytes={from}-{to}"),
            Part::From(from, None) => format!("bytes={from}-"),
            Part::Last(count) => format!("bytes=-{count}"),
        });
        let request = self.client.get_object().bucket(&self.bucket).key(self.name(key)).set_range(range);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
            Err(error) if code(&error) == Some("InvalidRange") => {
                // None if it was deleted meanwhile.
                return self.size(key).await?.map_or(Ok(None), |size| Err(MediaError::BeyondEnd(size)));
            }
            Err(error) => return Err(MediaError::unavailable(error)),
        };
        let length = found.content_length().unwrap_or(0).unsigned_abs();
        // `bytes 3-5/10`: first, last, total.
        let range = found.content_range().and_then(|range| {
            let (bytes, size) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (from, to) = bytes.split_once('-')?;
            Some((from.parse().ok()?..=to.parse().ok()?, size.parse().ok()?))
        });
        let (range, size) = range.unwrap_or((0..=length.saturating_sub(1), length));
        let body = ReaderStream::with_capacity(found.body.into_async_read(), BUFFER).boxed();
        Ok(Some(MediaObject { size, range, body }))
    }

    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.name(key));
        match request.send().await {
            Ok(head) => Ok(Some(head.content_length().unwrap_or(0).unsigned_abs())),
            Err(error) if code(&error) == Some("NotFound") => Ok(None),
            Err(error) => Err(MediaError::unavailable(error)),
        }
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.name(key));
        request.send().await.map(drop).map_err(MediaError::unavailable)
    }

    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError> {
        let mut below = self.named(format!("{}/", self.name(folder)));
        while let Some(Listed { name, .. }) = below.try_next().await? {
            let request = self.client.delete_object().bucket(&self.bucket).key(name);
            request.send().await.map_err(MediaError::unavailable)?;
        }
        Ok(())
    }

    fn list(&self) -> Listing {
        let begin = self.prefix.len();
        let named = self.named(self.prefix.clone());
        named.map_ok(move |listed| Listed { name: listed.name[begin..].to_owned(), ..listed }).boxed()
    }

    async fn link(&self, key: &MediaKey, valid: Duration) -> Result<Option<String>, MediaError> {
        let Some(public) = &self.public else { return Ok(None) };
        let valid = PresigningConfig::expires_in(valid).map_err(MediaError::unavailable)?;
        let request = public
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            // Earlier versions stored pictures with an unlimited cache lifetime.
            .response_cache_control(super::CACHE_CONTROL);
        let signed = request.presigned(valid).await.map_err(MediaError::unavailable)?;
        Ok(Some(signed.uri().to_owned()))
    }

    async fn check(&self) -> Result<(), MediaError> {
        self.client.head_bucket().bucket(&self.bucket).send().await.map(drop).map_err(MediaError::unavailable)
    }
}

impl S3Media {
    /// Creates the bucket of a self-hosted S3 if it is missing. Buckets at Amazon are created by their owner.
    async fn prepare(&self) {
        let missing = |error: &SdkError<_, _>| matches!(code(error), Some("NotFound" | "NoSuchBucket"));
        let there = self.client.head_bucket().bucket(&self.bucket).send().await;
        if there.is_err_and(|error| missing(&error)) {
            match self.client.create_bucket().bucket(&self.bucket).send().await {
                Ok(_) => tracing::info!(bucket = self.bucket, "created the media bucket"),
                Err(error) => tracing::warn!(
                    bucket = self.bucket,
                    error = with_causes(&error),
                    "the media bucket is missing"
                ),
            }
        }
    }

    /// Stores a file in parts. The object appears when all are complete; after an error the parts are discarded.
    async fn put_parts(&self, key: &MediaKey, file: &Path, size: u64) -> Result<(), MediaError> {
        let name = self.name(key);
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(&name);
        let request = request.content_type(key.content_type()).cache_control(super::CACHE_CONTROL);
        let created = request.send().await.map_err(MediaError::unavailable)?;
        let upload = created.upload_id().ok_or_else(|| MediaError::unavailable("an upload without an id"))?;
        let stored = self.send_parts(&name, upload, file, size).await;
        if stored.is_err() {
            let abort =
                self.client.abort_multipart_upload().bucket(&self.bucket).key(&name).upload_id(upload);
            if let Err(error) = abort.send().await {
                tracing::warn!(error = with_causes(&error), "the parts of a failed upload to S3 remain");
            }
        }
        stored
    }

    async fn send_parts(&self, name: &str, upload: &str, file: &Path, size: u64) -> Result<(), MediaError> {
        let mut parts = Vec::new();
        let mut offset = 0;
        for number in 1.. {
            if offset >= size {
                break;
            }
            let length = PART_SIZE.min(size - offset);
            let request = self.client.upload_part().bucket(&self.bucket).key(name).upload_id(upload);
            let body = file_part(file, offset, length).await?;
            let sent =
                request.part_number(number).body(body).send().await.map_err(MediaError::unavailable)?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
            offset += length;
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request =
            self.client.complete_multipart_upload().bucket(&self.bucket).key(name).upload_id(upload);
        request.multipart_upload(parts).send().await.map(drop).map_err(MediaError::unavailable)
    }

    /// All objects with this name prefix, by full name.
    fn named(&self, prefix: String) -> Listing {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
        let pages = request.into_paginator().send();
        let pages = futures::stream::unfold(pages, async |mut pages| Some((pages.next().await?, pages)));
        let listed = move |object: aws_sdk_s3::types::Object| {
            let name = object.key.filter(|name| name.starts_with(&prefix))?;
            let modified = object.last_modified?;
            let modified = DateTime::from_timestamp(modified.secs(), modified.subsec_nanos())?;
            Some(Listed { name, modified })
        };
        let of_page = move |page: Vec<aws_sdk_s3::types::Object>| {
            // A response without the requested fields is invalid.
            let all: Option<Vec<Listed>> = page.into_iter().map(&listed).collect();
            all.ok_or_else(|| MediaError::unavailable("an object was listed without its name or time"))
        };
        pages
            .map(move |page| match page {
                Ok(page) => of_page(page.contents.unwrap_or_default()),
                Err(error) => Err(MediaError::unavailable(error)),
            })
            .map_ok(|page| futures::stream::iter(page.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

async fn file_part(file: &Path, offset: u64, length: u64) -> Result<ByteStream, MediaError> {
    let body = ByteStream::read_from().path(file).offset(offset).length(Length::Exact(length));
    body.buffer_size(BUFFER).build().await.map_err(MediaError::unavailable)
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::*;

    #[test]
    fn settings_are_parsed_from_their_url() {
        let settings =
            S3Settings::parse("//photos/a/b/?region=eu-west-1&endpoint=http%3A%2F%2Fs3%3A9000&public_endpoint=https://m.example&credentials_file=/run/secrets/s3")
                .unwrap();
        assert_eq!(settings.bucket, "photos");
        assert_eq!(settings.prefix, "a/b/");
        assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
        assert_eq!(settings.endpoint.as_deref(), Some("http://s3:9000"));
        assert_eq!(settings.public_endpoint.as_deref(), Some("https://m.example"));
        assert_eq!(settings.credentials_file, Some("/run/secrets/s3".into()));
        assert_eq!(S3Settings::parse("//photos").unwrap().prefix, "");
        for bad in ["photos", "//", "//photos?path=x"] {
            assert!(S3Settings::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_setting_is_parsed_or_rejected(
            rest in "//[a-z0-9/.-]{0,30}(\\?(region|endpoint|credentials_file|secret)=[!-~]{0,20}&?){0,3}|\\PC{0,40}",
        ) {
            if let Ok(settings) = S3Settings::parse(&rest) {
                prop_assert!(!settings.bucket.is_empty());
                // The prefix of all keys: empty, or a folder.
                prop_assert!(settings.prefix.is_empty() || settings.prefix.ends_with('/'), "{settings:?}");
                prop_assert!(!settings.prefix.starts_with('/') && !settings.prefix.ends_with("//"), "{settings:?}");
            }
        }
    }
}
