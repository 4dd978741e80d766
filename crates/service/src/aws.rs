//! Shared client configuration for AWS and compatible services: TLS by rustls, credentials, timeouts.

use std::path::Path;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use aws_config::SdkConfig;

/// Timeout of one attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The configuration shared by all clients of one setting. Without a credentials file (access key and secret, in the
/// format of the AWS tools), credentials come from environment, files, or the role of the machine or task.
pub async fn load(region: Option<String>, credentials_file: Option<&Path>) -> SdkConfig {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(ATTEMPT_LIMIT)
        .build();
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone()).timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(file) = credentials_file {
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file).build();
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_http_client(http))
            .profile_files(files)
            .build();
        loader = loader.credentials_provider(provider);
    }
    loader.load().await
}
