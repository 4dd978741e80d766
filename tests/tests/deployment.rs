//! `compose.yaml` as far as it can be tested without containers: it is valid, and its four services work as plain
//! processes with its settings, behind its proxy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tests::chorus::binary;
use tests::client::Api;
use tests::inbox::taken_by_ses;
use tests::servers::{
    CaddyServer, MongoServer, MotoServer, NatsServer, SENDER, ServerProcess, fetched, free_port,
};
use tests::waiting::found;

/// How long a mail may take to arrive.
const MAIL_LIMIT: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The file as docker-compose understands it.
fn compose() -> Value {
    let output = Command::new(fetched("docker-compose", "docker-compose").unwrap())
        .args(["--file", "compose.yaml", "config", "--format", "json"])
        .current_dir(root())
        .env_remove("CHORUS_SITE")
        .env_remove("CHORUS_ALLOWED_ORIGINS")
        .env_remove("CHORUS_MAIL")
        .env_remove("CHORUS_MAIL_PASSWORD_FILE")
        .env_remove("CHORUS_MAIL_FROM")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let texts = value.as_object().unwrap().iter();
    texts.map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned())).collect()
}

#[test]
fn compose_services_are_in_the_image_and_know_their_settings() {
    let (compose, dockerfile) = (compose(), std::fs::read_to_string(root().join("Dockerfile")).unwrap());
    for service in ["command-api", "compat-api", "projector", "query-api"] {
        let service_config = &compose["services"][service];
        assert_eq!(service_config["command"], serde_json::json!([service]));
        assert!(dockerfile.contains(&format!("target/dist/{service} ")), "the image has no {service}");
        let help = Command::new(binary(service).unwrap()).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for name in texts(&service_config["environment"]).keys() {
            assert!(help.contains(&format!("[env: {name}")), "{service} knows no {name}");
        }
        assert_eq!(service_config["environment"]["CHORUS_ENV"], "production");
    }
    // Mounted files exist.
    for service in compose["services"].as_object().unwrap().values() {
        for volume in
            service["volumes"].as_array().into_iter().flatten().filter(|volume| volume["type"] == "bind")
        {
            assert!(Path::new(volume["source"].as_str().unwrap()).is_file(), "{volume}");
        }
    }
    // Uploads in progress outlive the container.
    let mut uploads = compose["services"]["command-api"]["volumes"].as_array().into_iter().flatten();
    assert!(uploads.any(|volume| volume["type"] == "volume" && volume["target"] == "/data"));
    // Only the proxy is reachable from outside.
    let reachable =
        compose["services"].as_object().unwrap().iter().filter(|(_, service)| service["ports"].is_array());
    assert_eq!(reachable.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["proxy"]);
    assert_eq!(compose["networks"]["inside"]["internal"], true);
}

#[test]
fn nats_server_accepts_the_shipped_configuration() {
    let config = root().join("deploy/nats.conf");
    let program = fetched("nats-server", "nats-server").unwrap();
    let output = Command::new(program).arg("-t").arg("--config").arg(&config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_to_string(config).unwrap().contains("sync_interval: always"));
}

/// Creates secrets with the operator's script, in a temporary folder.
fn secrets(folder: &Path) -> PathBuf {
    let script = folder.join("make-secrets");
    std::fs::copy(root().join("deploy/make-secrets"), &script).unwrap();
    let make = || {
        // Run by its interpreter: a new file cannot be executed while another test's child process has it open.
        let output = Command::new("bash").arg(&script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let secrets = std::fs::read_dir(folder.join("secrets")).unwrap().map(Result::unwrap);
        secrets
            .map(|secret| (secret.file_name(), std::fs::read_to_string(secret.path()).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let made = make();
    assert_eq!(make(), made, "a second run changes a secret");
    folder.join("secrets")
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_services_work_as_plain_processes() {
    let (compose, folder) = (compose(), tempfile::tempdir().unwrap());
    let secrets = secrets(folder.path());
    for (name, secret) in compose["secrets"].as_object().unwrap() {
        let file = Path::new(secret["file"].as_str().unwrap()).file_name().unwrap();
        assert!(secrets.join(file).is_file(), "the script does not create {name}");
    }
    let (nats, mongo, aws) =
        tokio::try_join!(NatsServer::start(), MongoServer::start(), MotoServer::start()).unwrap();
    aws.verify_sender().await.unwrap();
    // Filled in by the operator.
    let credentials = std::fs::read_to_string(secrets.join("s3-credentials")).unwrap();
    std::fs::write(secrets.join("mail-credentials"), credentials).unwrap();
    let ports = [(); 3].map(|()| free_port().unwrap());
    let [command_port, query_port, compat_port] = ports;
    let [command, query, compat] = ports.map(|port| format!("127.0.0.1:{port}"));
    let proxy = CaddyServer::start(&command, &query, &compat).await.unwrap();
    let here = |port: u16| format!("//127.0.0.1:{port}");
    let elsewhere = [
        ("//nats:4222", here(nats.port())),
        ("//mongo:27017", here(mongo.port())),
        ("replicaSet=chorus", "replicaSet=rs0".to_owned()),
        ("//s3:8333", here(aws.port())),
        ("ses://us-east-1?", format!("ses://us-east-1?endpoint={}&", aws.endpoint())),
        ("no-reply@localhost", SENDER.to_owned()),
        ("//command-api:8080", here(command_port)),
        ("/run/secrets", secrets.display().to_string()),
        ("https://localhost", proxy.url()),
    ];
    let mut running = Vec::new();
    for (service, port) in [
        ("command-api", command_port),
        ("projector", free_port().unwrap()),
        ("query-api", query_port),
        ("compat-api", compat_port),
    ] {
        let mut environment = texts(&compose["services"][service]["environment"]);
        for value in environment.values_mut() {
            for (there, here) in &elsewhere {
                *value = value.replace(there, here);
            }
        }
        environment.insert("CHORUS_LISTEN".into(), format!("127.0.0.1:{port}"));
        // In containers all listen on the same port.
        let operations = free_port().unwrap();
        environment.insert("CHORUS_OPERATIONS_LISTEN".into(), format!("127.0.0.1:{operations}"));
        environment.insert("CHORUS_DATA".into(), folder.path().join(service).display().to_string());
        let environment: Vec<_> = environment.into_iter().collect();
        let log = folder.path().join(format!("{service}.log"));
        let mut process = ServerProcess::start(&binary(service).unwrap(), &[], &environment, &log).unwrap();
        let ready = format!("http://127.0.0.1:{operations}/readyz");
        let api = Api::plain();
        let answers = || async {
            api.try_send(api.request(Method::GET, &ready))
                .await
                .is_ok_and(|answer| answer.status.is_success())
        };
        process.until("become ready", answers).await.unwrap();
        running.push(process);
    }
    let api = Api::of(proxy.url(), Some(&proxy.root_certificate()));
    let user = api.sign_up("operator").await;
    let mails = found(MAIL_LIMIT, "a mail arrives", async || {
        let mails = aws.mails().await.unwrap();
        (!mails.is_empty()).then_some(mails)
    });
    let mail = taken_by_ses(&mails.await).unwrap().remove(0);
    assert_eq!(mail.to, format!("{}@example.org", user.username));
    assert!(mail.link().unwrap().starts_with(&format!("{}/verify-email/", proxy.url())), "{mail:?}");
    let post = api.publish(&user, "by compose.yaml").await;
    let shown = api.post_page(&post).await;
    assert_eq!(shown["caption"], "by compose.yaml");
    let feed = api.get("/InstaMERN/posts").await.expect(200).json();
    assert_eq!(feed["data"]["posts"][0]["_id"], post);
    let picture = api.get(shown["images"][0]["thumb"].as_str().unwrap()).await.expect(200);
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    // Operations endpoints are not public.
    api.get("/metrics").await.expect(404);
    // Development features are off: no secret was generated.
    assert!(!folder.path().join("command-api/master.key").exists());
}
