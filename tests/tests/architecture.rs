//! What `Cargo.toml` does not list cannot leak: which crates may depend on which, and which types stay in one adapter.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item};

/// The dependencies of every workspace crate, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let listed = metadata.workspace_packages().into_iter().map(|package| {
        let normal =
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|dependency| dependency.name.clone()).collect())
    });
    listed.collect()
}

#[test]
fn crates_depend_only_on_allowed_crates() {
    const SUPPORT: &[&str] = &["ids", "media", "resources", "service", "web"];
    let with = |more: &[&'static str]| [SUPPORT, more].concat();
    let allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("ids", vec![]),
        ("sqlite", vec![]),
        ("service", vec![]),
        ("media", vec!["service"]),
        ("resources", vec!["media"]),
        ("web", vec!["ids", "service"]),
        ("events", vec!["ids", "sqlite"]),
        ("audio", vec!["events"]),
        ("pictures", vec!["media", "resample"]),
        ("resample", vec![]),
        ("views", vec!["sqlite"]),
        ("command-api", with(&["audio", "events", "pictures"])),
        ("projector", with(&["audio", "events", "views"])),
        ("query-api", with(&["events", "views"])),
        ("compat-api", with(&["command-api", "events", "query-api", "views"])),
        (
            "chorus",
            with(&["audio", "command-api", "compat-api", "events", "projector", "query-api", "views"]),
        ),
        (
            "bench",
            with(&["chorus", "command-api", "events", "projector", "query-api", "sqlite", "tests", "views"]),
        ),
        ("tests", with(&["events", "sqlite", "views"])),
    ]);
    let all = dependencies();
    for (name, listed) in &all {
        let own: Vec<&str> =
            listed.iter().map(String::as_str).filter(|name| all.contains_key(*name)).collect();
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(own.iter().all(|name| may.contains(name)), "{name} depends on {own:?}, allowed are {may:?}");
    }
}

#[test]
fn crates_list_no_forbidden_engine_or_transport() {
    let api = &["async-nats", "aws-sdk-sesv2", "aws-sdk-sqs", "lettre", "mongodb", "rusqlite"][..];
    let forbidden: &[(&str, &[&str])] = &[
        ("audio", &["axum", "http", "async-nats", "mongodb", "rusqlite", "reqwest"]),
        ("ids", &["axum", "http", "async-nats", "mongodb", "rusqlite", "tokio"]),
        ("sqlite", &["axum", "async-nats", "mongodb", "reqwest"]),
        ("events", &["axum", "http", "mongodb", "reqwest", "tower"]),
        ("views", &["axum", "http", "async-nats", "reqwest", "tower"]),
        ("service", &["axum", "async-nats", "aws-sdk-s3", "aws-sdk-sesv2", "mongodb", "rusqlite"]),
        ("media", &["axum", "async-nats", "mongodb", "rusqlite"]),
        ("web", api),
        ("command-api", api),
        ("query-api", api),
        ("compat-api", api),
        ("projector", &["axum", "async-nats", "mongodb", "rusqlite", "utoipa"]),
    ];
    let all = dependencies();
    for (name, names) in forbidden {
        let found: Vec<_> = names.iter().filter(|listed| all[*name].contains(**listed)).collect();
        assert!(found.is_empty(), "{name} lists {found:?}");
    }
}

/// What must stay in the adapter of an engine.
struct Engine {
    /// The crate of the adapter.
    of: &'static str,
    /// Prefix of the adapter's files and folders.
    adapter: &'static str,
    /// Crates and modules of the engine.
    names: &'static [&'static str],
    /// Words of the engine's language in string literals.
    words: &'static [&'static str],
}

/// BSON stays in `views/src/mongo*`, NATS in `events/src/jetstream*`, SQL in the adapters named `sqlite`.
const ENGINES: &[Engine] = &[
    Engine { of: "views", adapter: "mongo", names: &["bson", "mongodb"], words: &[] },
    Engine { of: "events", adapter: "jetstream", names: &["async_nats"], words: &[] },
    Engine { of: "views", adapter: "sqlite", names: &["rusqlite"], words: SQL },
    Engine { of: "events", adapter: "sqlite", names: &["rusqlite"], words: SQL },
];
const SQL: &[&str] = &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];

/// A name in a path or an import, or a string.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Name(String),
    Text(String),
}

/// Names and strings in the code that is built into a program, without tests and comments.
#[derive(Debug, Default)]
struct Code {
    /// With their lines.
    words: Vec<(usize, Word)>,
    /// Modules in separate files, as paths below the folder of this file's modules.
    modules: Vec<PathBuf>,
    /// The modules that enclose the current item.
    around: PathBuf,
}

impl Code {
    fn of(text: &str) -> Self {
        let mut code = Self::default();
        code.visit_file(&syn::parse_file(text).unwrap());
        code
    }

    fn name(&mut self, name: &Ident) {
        self.words.push((name.span().start().line, Word::Name(name.to_string())));
    }

    /// Collects names and strings anywhere in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(name) => self.name(&name),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        self.visit_lit_str(&text);
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn leak(&self, engine: &Engine) -> Option<&(usize, Word)> {
        self.words.iter().find(|(_, word)| match word {
            Word::Name(name) => engine.names.contains(&name.as_str()),
            Word::Text(text) => engine.words.iter().any(|word| text.contains(word)),
        })
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.around.push(module.ident.to_string());
        if module.content.is_none() {
            self.modules.push(self.around.clone());
        }
        visit::visit_item_mod(self, module);
        self.around.pop();
    }

    /// Skips doc comments, which are attributes.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.name(&segment.ident);
        visit::visit_path_segment(self, segment);
    }

    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        self.name(&path.ident);
        visit::visit_use_path(self, path);
    }

    fn visit_use_name(&mut self, name: &'ast syn::UseName) {
        self.name(&name.ident);
    }

    fn visit_use_rename(&mut self, name: &'ast syn::UseRename) {
        self.name(&name.ident);
    }

    fn visit_item_extern_crate(&mut self, extern_crate: &'ast syn::ItemExternCrate) {
        self.name(&extern_crate.ident);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.words.push((text.span().start().line, Word::Text(text.value())));
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }
}

/// Every source file of a crate outside of tests, with its code.
fn sources(name: &str) -> Vec<(PathBuf, Code)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
    // A file and the folder of its modules.
    let roots = ["lib.rs", "main.rs"].map(|root| folder.join(root)).into_iter().filter(|root| root.exists());
    let mut files: Vec<(PathBuf, PathBuf)> = roots.map(|root| (root, folder.clone())).collect();
    let mut read = Vec::new();
    while let Some((file, folder)) = files.pop() {
        let code = Code::of(&std::fs::read_to_string(&file).unwrap());
        for module in &code.modules {
            let module = folder.join(module);
            files.push((module.with_extension("rs"), module));
        }
        read.push((file, code));
    }
    read
}

#[test]
fn engine_types_and_sql_stay_in_their_adapter() {
    for engine in ENGINES {
        let files = sources(engine.of);
        let is_inside = |file: &Path| {
            file.components().any(|part| part.as_os_str().to_string_lossy().starts_with(engine.adapter))
        };
        let (inside, outside): (Vec<_>, Vec<_>) = files.iter().partition(|(file, _)| is_inside(file));
        for (file, code) in outside {
            let leak = code.leak(engine);
            assert!(leak.is_none(), "{}: {leak:?} belongs in the adapter {}", file.display(), engine.adapter);
        }
        let is_used = inside.iter().any(|(_, code)| code.leak(engine).is_some());
        assert!(is_used, "{} has no adapter {}, or it was not found", engine.of, engine.adapter);
    }
}

#[test]
fn leaks_are_found_anywhere_in_the_code() {
    let engine = &ENGINES[2];
    for leak in [
        "use rusqlite::Connection;",
        "use {std::path::Path, sqlite::rusqlite as engine};",
        "fn f(connection: &rusqlite::Connection) {}",
        "fn f() { let _ = sqlite::rusqlite::version(); }",
        "fn f() { debug!(target: \"x\", { rusqlite::version() }); }",
        "const ALL: &str = \"SELECT * FROM events\";",
        "fn f(t: &str) -> String { format!(r#\"SELECT {t}\"#) }",
        "const ONE: &str = \"DELETE FROM events WHERE position = ?1\";",
        "#[cfg(test)] mod tests {} use rusqlite::Connection;",
        "#[cfg(not(test))] use rusqlite::Connection;",
    ] {
        assert!(Code::of(leak).leak(engine).is_some(), "{leak}");
    }
    for harmless in [
        "#[cfg(test)] mod tests { use rusqlite::Connection; }",
        "#[cfg(test)] use rusqlite::Connection;",
        "struct S; impl S { #[cfg(test)] fn f() { rusqlite::version(); } }",
        "//! No rusqlite, no SELECT here.\n/// SELECT what you like.\nfn f() {} // rusqlite",
        "fn f() -> &'static str { \"rusqlite\" }",
    ] {
        assert_eq!(Code::of(harmless).leak(engine), None, "{harmless}");
    }
    let modules = Code::of("mod a; #[cfg(test)] mod b; mod c { mod d; } mod e { fn f() {} }").modules;
    assert_eq!(modules, [Path::new("a"), Path::new("c/d")]);
}
