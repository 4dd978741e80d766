//! The playlists of the demo. One is edited by two people, one is private.

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Login, Server, accepted, each};

pub(super) struct Playlist {
    name: &'static str,
    description: &'static str,
    public: bool,
    /// The number of a person.
    owner: usize,
    /// Who adds songs, by numbers, in order. A song may be there twice. All but the owner are collaborators.
    added: &'static [(usize, &'static [usize])],
}

/// The dataset has at least two people.
pub(super) const PLAYLISTS: [Playlist; 3] = [
    Playlist {
        name: "By the water",
        description: "For the early ferry",
        public: true,
        owner: 0,
        added: &[(0, &[0, 2, 1, 4])],
    },
    Playlist {
        name: "Kitchen",
        description: "Add what you like",
        public: true,
        owner: 1,
        added: &[(1, &[5, 7]), (0, &[3, 5])],
    },
    Playlist { name: "Not finished", description: "", public: false, owner: 0, added: &[(0, &[6])] },
];

impl Server {
    /// Creates the playlists, with keys, so that a second run changes nothing.
    pub(super) async fn fill_playlists(
        &self,
        people: &[Login],
        songs: &[String],
        bar: &ProgressBar,
    ) -> Result<()> {
        let fill =
            async |number, playlist: &Playlist| self.fill_playlist(number, playlist, people, songs).await;
        each(&PLAYLISTS, bar, fill).await.map(drop)
    }

    async fn fill_playlist(
        &self,
        number: usize,
        playlist: &Playlist,
        people: &[Login],
        songs: &[String],
    ) -> Result<()> {
        let owner = &people[playlist.owner];
        let key = format!("playlist {number}");
        let Playlist { name, description, public, .. } = playlist;
        let new = json!({ "name": name, "description": description, "public": public });
        let created = self.change(Method::POST, "/v1/playlists", &key, owner, &new).await?;
        let id = created["id"].as_str().context("a playlist without an id")?;
        let path = format!("/v1/playlists/{id}");
        for (step, &(by, numbers)) in playlist.added.iter().enumerate() {
            let user = &people[by];
            if by != playlist.owner {
                let collaborator = format!("{path}/collaborators/{}", user.id);
                self.change(Method::PUT, &collaborator, "", owner, &Value::Null).await?;
            }
            let added: Vec<&String> = numbers.iter().map(|&song| &songs[song]).collect();
            let body = json!({ "songs": added });
            let key = format!("{key} entries {step}");
            self.change(Method::POST, &format!("{path}/entries"), &key, user, &body).await?;
        }
        Ok(())
    }

    async fn change(
        &self,
        method: Method,
        path: &str,
        key: &str,
        user: &Login,
        body: &Value,
    ) -> Result<Value> {
        let changed =
            self.send(method, path, key, |request| Ok(request.bearer_auth(&user.token).json(body))).await?;
        accepted(changed, "filling a playlist").await
    }
}
