//! Nodes that reach NATS by TLS, with the account and the permissions that `deploy/cluster/nats.conf` documents.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::api::Streamer;
use harness::nats::{KEY, create, together};
use harness::server::binary;
use harness::{Listener, Nats, Server, eventually};
use nkeys::KeyPair;
use serde_json::{Value, json};

const PASSWORD: &str = "a-password-of-this-test";

/// An authority, and certificates of it for a server at 127.0.0.1 and for a client: `ca.pem`, `server.pem`, `client.pem`, and keys.
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for name in ["server", "client"] {
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
        ));
    }
}

/// `deploy/cluster/nats.conf` for one server instead of three, with the certificates of `folder`. `more`: also in its block `tls`.
fn documented(folder: &Path, more: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/cluster/nats.conf");
    let text = fs::read_to_string(file).unwrap();
    let (before, others) = text.split_once("\ncluster {").expect("the other servers");
    let (_, after) = others.split_once("\n}\n").expect("their end");
    let folder = folder.display();
    [before, after]
        .join("\n")
        // The harness has its own.
        .replace("store_dir: /var/lib/nats\n", "")
        .replace("/etc/nats", &folder.to_string())
        .replace("$ORIEL_PASSWORD", &format!("{PASSWORD:?}"))
        .replace("\ntls {", &format!("\ntls {{\n{more}"))
}

struct Secured {
    nats: Nats,
    folder: tempfile::TempDir,
}

impl Secured {
    fn start(more: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let conf = folder.path().join("nats.conf");
        fs::write(&conf, documented(folder.path(), &more(folder.path()))).unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        fs::write(folder.path().join("another"), "another-password").unwrap();
        let nats = Nats::start_with(&["-c", conf.to_str().unwrap()]);
        Self { nats, folder }
    }

    fn url(&self) -> String {
        self.nats.url().replace("nats://", "tls://")
    }

    /// What a node needs to be let in: variables, the files by their names.
    fn variables(&self, files: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let files = files.iter().map(|(variable, name)| (*variable, path(name)));
        files.chain([("ORIEL_CLUSTER_USER", "oriel".to_owned())]).collect()
    }

    fn node(&self, name: &str, files: &[(&'static str, &str)]) -> Server {
        let variables = self.variables(files);
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Server::start_node(&self.url(), KEY, name, &variables)
    }

    fn check(&self, files: &[(&'static str, &str)]) -> Output {
        Command::new(binary("web-server"))
            .args(["check-config", "--nats", &self.url(), "--cluster-key", KEY, "--cluster-name", "a"])
            .args(["--cluster-advertise", "http://127.0.0.1:1"])
            .envs(self.variables(files))
            .output()
            .unwrap()
    }

    /// `check-config` says this of NATS.
    #[track_caller]
    fn refuses(&self, files: &[(&'static str, &str)], why: &str) {
        let checked = self.check(files);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.code() == Some(3) && said.contains(why), "{why}: {checked:?}");
    }
}

const PASSWORD_FILE: &str = "ORIEL_CLUSTER_PASSWORD_FILE";
const CA: &str = "ORIEL_CLUSTER_CA";

#[test]
fn nodes_work_with_what_the_documented_nats_allows() {
    let nats = Secured::start(|_| String::new());
    let files = [(PASSWORD_FILE, "password"), (CA, "ca.pem")];
    assert!(nats.check(&files).status.success(), "{:?}", nats.check(&files));
    nats.refuses(&[(PASSWORD_FILE, "another"), (CA, "ca.pem")], "not authorised");
    nats.refuses(&[(PASSWORD_FILE, "password")], "cannot connect");

    let [a, b] = ["a", "b"].map(|name| nats.node(name, &files));
    together(&[&a, &b]);
    let mut listener = Listener::open(&a, "/api/events", &[]);
    let source = json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false });
    let made = create(&a, &json!({ "id": "far", "source": source, "placement": { "node": "b" } }));
    assert_eq!(made.json::<Streamer>().node.as_deref(), Some("b"));
    listener.until("created", |data| data["streamer"] == "far");
    a.post("/api/streamers/far/move", &json!({ "node": "a" })).expect(202);
    listener.until("moved", |data| data["streamer"] == "far");
    eventually("the other node knows", || (b.streamer("far")?.node? == "a").then_some(()));
    b.delete("/api/streamers/far").expect(204);
    listener.until("deleted", |data| data["streamer"] == "far");
    // Nothing of what a node does is refused in silence.
    for server in [&a, &b] {
        assert!(!server.log().contains("ermissions"), "{}", server.log());
    }
}

#[test]
fn nodes_show_their_certificate_to_a_nats_that_asks_for_it() {
    let nats = Secured::start(|folder| format!("verify: true\nca_file: {:?}\n", folder.join("ca.pem")));
    let files = [
        (PASSWORD_FILE, "password"),
        (CA, "ca.pem"),
        ("ORIEL_CLUSTER_CERT", "client.pem"),
        ("ORIEL_CLUSTER_CERT_KEY", "client.key"),
    ];
    assert!(nats.check(&files).status.success(), "{:?}", nats.check(&files));
    nats.refuses(&files[..2], "cannot connect");
}

/// What `issuer` says of `subject`, as NATS reads it: a JWT that is signed by an nkey.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": "of-this-test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "of-this-test", "nats": claims,
    });
    let signed = [header, body].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A file with a user's token and key, as `nsc` makes it.
fn credentials(user: &KeyPair, token: &str) -> String {
    let seed = user.seed().unwrap();
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[test]
fn a_node_has_an_account_of_a_nats_with_an_operator_by_its_credentials() {
    let [operator, system, account, user, stranger] = [
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
        KeyPair::new_user(),
        KeyPair::new_user(),
    ];
    let any = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let mut no_storage = any.clone();
    for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
        no_storage[limit] = json!(0);
    }
    let of_account =
        |key, limits| token(&operator, key, &json!({ "type": "account", "version": 2, "limits": limits }));
    let of_user = |issuer: &KeyPair, key: &KeyPair| {
        token(issuer, key, &json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 }))
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let conf = file(
        "nats.conf",
        format!(
            "jetstream {{}}\noperator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n {}: {}\n {}: {}\n}}\n",
            token(&operator, &operator, &json!({ "type": "operator", "version": 2 })),
            system.public_key(),
            system.public_key(),
            of_account(&system, no_storage),
            account.public_key(),
            of_account(&account, any),
        ),
    );
    let nats = Nats::start_with(&["-c", &conf]);
    let good = file("good.creds", credentials(&user, &of_user(&account, &user)));
    // Signed by nobody whom the operator knows.
    let forged = file("forged.creds", credentials(&stranger, &of_user(&KeyPair::new_account(), &stranger)));
    let check = |credentials: &str| {
        Command::new(binary("web-server"))
            .args(["check-config", "--nats", &nats.url(), "--cluster-key", KEY, "--cluster-name", "a"])
            .args(["--cluster-advertise", "http://127.0.0.1:1", "--cluster-credentials-file", credentials])
            .output()
            .unwrap()
    };
    assert!(check(&good).status.success(), "{:?}", check(&good));
    let refused = check(&forged);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(3) && said.contains("not authorised"), "{refused:?}");

    let [a, b] = ["a", "b"].map(|name| nats.node(KEY, name, &[("ORIEL_CLUSTER_CREDENTIALS_FILE", &good)]));
    together(&[&a, &b]);
    let source = json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false });
    let made = create(&a, &json!({ "id": "far", "source": source, "placement": { "node": "b" } }));
    assert_eq!(made.json::<Streamer>().node.as_deref(), Some("b"));
}
