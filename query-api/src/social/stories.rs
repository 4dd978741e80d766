//! Current stories: grouped by author, all, and by one author; and their viewers. A story is shown until it expires
//! by this process's clock, even if its expiry event is late. Stories of active users are visible to all users, those of
//! private users to accepted followers only.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use events::{StoryId, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use resources::{Person, Story as StoryPage, StoryImage, StoryViewer};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{self, AccountStatus, Profile};
use views::social::follows::{self, Follow};
use views::social::stories::{BY_AUTHOR, NEWEST, Story, VIEW};
use views::social::story_authors::{self, StoryAuthor};
use views::social::story_views::{self, BY_STORY, StoryView};
use views::{Document, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{COUNT_LIMIT, PageOf, PageParams, Paging};
use crate::social::follows::Side;
use crate::{Queries, store_problem};

/// The views that stories are read from.
const VIEWS: [&str; 4] = [VIEW.name, story_views::VIEW.name, profiles::VIEW.name, follows::VIEW.name];
/// Maximum number of followed users whose stories are read, latest followed first.
const FOLLOWINGS_LIMIT: usize = 10_000;
/// Maximum number of groups; of more authors, those with the newest stories.
const GROUPS_LIMIT: usize = 500;
/// Maximum number of stories in a group, the newest ones.
const STORIES_LIMIT: usize = 100;
/// Maximum difference of the publishing machines' clocks: the last story appended need not be the last one to expire.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);
/// Documents per read.
const AT_ONCE: usize = 1000;
/// Authors whose stories are read concurrently.
const AUTHORS_AT_ONCE: usize = 16;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_story_groups))
        .routes(routes!(list_newest_stories))
        .routes(routes!(list_user_stories))
        .routes(routes!(get_story))
        .routes(routes!(list_story_viewers))
}

/// A story with its author.
#[derive(Debug, Serialize, ToSchema)]
struct AuthoredStory {
    author: Person,
    #[serde(flatten)]
    story: StoryPage,
}

/// The current stories of a user.
#[derive(Debug, Serialize, ToSchema)]
struct StoryGroup {
    author: Person,
    /// Whether the caller has viewed all of them. The caller's own stories count as viewed.
    viewed: bool,
    /// Oldest first.
    stories: Vec<StoryPage>,
}

/// Groups of stories.
#[derive(Debug, Serialize, ToSchema)]
struct StoryGroups {
    items: Vec<StoryGroup>,
}

/// A viewer of a story.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoryViewerEntry)]
struct ViewerOfStory {
    #[serde(flatten)]
    listed: ListedPerson,
    viewed_at: DateTime<Utc>,
}

/// Groups stories by author: the authors in order of first appearance, the stories of each in the given order.
pub fn by_author(stories: Vec<(Person, Story)>) -> Vec<(Person, Vec<Story>)> {
    let mut groups: Vec<(Person, Vec<Story>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (author, story) in stories {
        let place = *places.entry(story.author.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, of_author)) => of_author.push(story),
            None => groups.push((author, vec![story])),
        }
    }
    groups
}

impl Queries {
    /// The current and visible ones of these stories, in order, each with its author.
    pub async fn visible_stories(
        &self,
        mut stories: Vec<Story>,
        viewer: Option<UserId>,
    ) -> Result<Vec<(Person, Story)>, Problem> {
        let now = self.clock.now().timestamp_millis();
        stories.retain(|story| now < story.expires_at && !story.removed);
        let authors: HashSet<&String> = stories.iter().map(|story| &story.author).collect();
        let authors = self.story_authors(authors.into_iter().cloned().collect(), viewer).await?;
        let visible = |story: Story| Some((authors.get(&story.author)?.clone(), story));
        Ok(stories.into_iter().filter_map(visible).collect())
    }

    /// The users whose stories the viewer may see, by id.
    async fn story_authors(
        &self,
        ids: Vec<String>,
        viewer: Option<UserId>,
    ) -> Result<HashMap<String, Person>, Problem> {
        let viewer = viewer.map(|user| user.to_string());
        let mut authors: Vec<Profile> = self.all_there(&ids).await?;
        authors.retain(|author| author.status == AccountStatus::Active);
        let is_closed = |author: &Profile| author.private && viewer.as_ref() != Some(&author.user);
        let mut accepted = HashSet::new();
        if let Some(viewer) = &viewer {
            let closed = authors.iter().filter(|author| is_closed(author));
            let keys: Vec<String> = closed.map(|author| follows::key(viewer, &author.user)).collect();
            let found: Vec<Follow> = self.all_there(&keys).await?;
            accepted.extend(found.into_iter().filter(|follow| follow.accepted).map(|follow| follow.followee));
        }
        let seen = authors.into_iter().filter(|author| !is_closed(author) || accepted.contains(&author.user));
        Ok(seen.map(|author| (author.user.clone(), self.person(author))).collect())
    }

    /// The existing documents of these keys, in order.
    async fn all_there<T: Document>(&self, keys: &[String]) -> Result<Vec<T>, Problem> {
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_ONCE) {
            found.extend(self.store.get_all::<T>(some).await.map_err(store_problem)?.into_iter().flatten());
        }
        Ok(found)
    }

    /// Which of these stories the viewer has viewed; includes own stories.
    async fn viewed(
        &self,
        stories: impl Iterator<Item = &Story>,
        viewer: Option<Session>,
    ) -> Result<Option<Viewed>, Problem> {
        let Some(session) = viewer else { return Ok(None) };
        let viewer = session.user.to_string();
        let keys: Vec<String> = stories
            .filter(|story| story.author != viewer)
            .map(|story| story_views::key(&story.story, &viewer))
            .collect();
        let views: Vec<StoryView> = self.all_there(&keys).await?;
        Ok(Some(Viewed { viewer, stories: views.into_iter().map(|view| view.story).collect() }))
    }

    /// These stories as shown, in order.
    async fn show_stories(
        &self,
        stories: impl Iterator<Item = Story>,
        viewed: Option<&Viewed>,
    ) -> Result<Vec<StoryPage>, Problem> {
        let shown = stories.map(async |story| {
            let is_own = viewed.is_some_and(|viewed| viewed.viewer == story.author);
            let views = if is_own { Some(self.views_of(&story.story).await?) } else { None };
            Ok::<_, Problem>(self.show_story(story, viewed, views))
        });
        futures::future::try_join_all(shown).await
    }

    /// The number of viewers of a story.
    async fn views_of(&self, story: &str) -> Result<u64, Problem> {
        self.store.count(&viewers_of(story, COUNT_LIMIT)).await.map_err(store_problem)
    }

    fn show_story(&self, story: Story, viewed: Option<&Viewed>, views: Option<u64>) -> StoryPage {
        let viewer = viewed.map(|viewed| StoryViewer { viewed: viewed.has(&story) });
        let size = (story.width, story.height);
        let image = StoryImage::new(&self.public_url, &story.media, size, story.alt, story.placeholder);
        StoryPage {
            id: story.story,
            image,
            published_at: DateTime::from_timestamp_millis(story.published).unwrap_or_default(),
            expires_at: DateTime::from_timestamp_millis(story.expires_at).unwrap_or_default(),
            views,
            viewer,
        }
    }

    async fn authored(
        &self,
        stories: Vec<Story>,
        viewer: Option<Session>,
    ) -> Result<Vec<AuthoredStory>, Problem> {
        let visible = self.visible_stories(stories, viewer.map(|session| session.user)).await?;
        let viewed = self.viewed(visible.iter().map(|(_, story)| story), viewer).await?;
        let (authors, stories): (Vec<Person>, Vec<Story>) = visible.into_iter().unzip();
        let shown = self.show_stories(stories.into_iter(), viewed.as_ref()).await?;
        let authored = authors.into_iter().zip(shown);
        Ok(authored.map(|(author, story)| AuthoredStory { author, story }).collect())
    }

    /// The groups of the viewer and the users they follow.
    async fn story_groups(&self, session: Session) -> Result<Vec<StoryGroup>, Problem> {
        let viewer = session.user.to_string();
        let authors = self.authors_followed(&viewer).await?;
        let stories: Vec<Vec<Story>> = stream::iter(authors)
            .map(|author| self.newest_of(author))
            .buffered(AUTHORS_AT_ONCE)
            .try_collect()
            .await?;
        let visible =
            self.visible_stories(stories.into_iter().flatten().collect(), Some(session.user)).await?;
        let viewed = self.viewed(visible.iter().map(|(_, story)| story), Some(session)).await?;
        let is_viewed = |story: &Story| viewed.as_ref().is_some_and(|viewed| viewed.has(story));
        let mut groups = by_author(visible);
        groups.sort_by_cached_key(|(author, stories)| {
            let newest = stories.iter().map(|story| story.position).max();
            (author.id != viewer, stories.iter().all(is_viewed), Reverse(newest))
        });
        let mut shown = Vec::with_capacity(groups.len());
        for (author, stories) in groups {
            let is_viewed = stories.iter().all(is_viewed);
            let stories = self.show_stories(stories.into_iter(), viewed.as_ref()).await?;
            shown.push(StoryGroup { author, viewed: is_viewed, stories });
        }
        Ok(shown)
    }

    /// The authors among the viewer and the users they follow who may have current stories.
    async fn authors_followed(&self, viewer: &str) -> Result<Vec<String>, Problem> {
        let mut ids = vec![viewer.to_owned()];
        ids.extend(self.newest_ids(Side::Followings, viewer, FOLLOWINGS_LIMIT).await?);
        let now = (self.clock.now() - CLOCKS_APART).timestamp_millis();
        let mut authors: Vec<StoryAuthor> = self.all_there(&ids).await?;
        authors.retain(|author| now < author.expires_at);
        authors.sort_by_key(|author| (author.author != viewer, Reverse(author.position)));
        authors.truncate(GROUPS_LIMIT);
        Ok(authors.into_iter().map(|author| author.author).collect())
    }

    /// An author's newest stories, oldest first.
    pub async fn newest_of(&self, author: String) -> Result<Vec<Story>, Problem> {
        let query = Query::new(&VIEW, &BY_AUTHOR, vec![json!(author)], STORIES_LIMIT);
        let mut stories = self.store.page_of::<Story>(query).await.map_err(store_problem)?.documents;
        stories.reverse();
        Ok(stories)
    }

    async fn stories_page(
        &self,
        query: Query,
        paging: &Paging,
        viewer: Option<Session>,
    ) -> Result<PageOf<AuthoredStory>, Problem> {
        let index = query.index;
        let found = self.page_of::<Story>(query, paging).await?;
        let items = self.authored(found.documents, viewer).await?;
        Ok(paging.page(items, found.next.as_ref(), index))
    }

    /// A current story of this author if it is visible.
    async fn story_of(
        &self,
        author: UserId,
        story: StoryId,
        viewer: Option<Session>,
    ) -> Result<AuthoredStory, Problem> {
        let found: Option<Story> = self.store.get(&story.to_string()).await.map_err(store_problem)?;
        let of_author = found.into_iter().filter(|story| story.author == author.to_string()).collect();
        let shown = self.authored(of_author, viewer).await?.pop();
        shown.ok_or_else(|| Problem::not_found("There is no such story"))
    }
}

/// The active viewers of a story, latest first.
fn viewers_of(story: &str, limit: usize) -> Query {
    Query::new(&story_views::VIEW, &BY_STORY, vec![json!(story), json!(true)], limit)
}

/// Which of these stories a user has viewed.
struct Viewed {
    viewer: String,
    stories: HashSet<String>,
}

impl Viewed {
    fn has(&self, story: &Story) -> bool {
        story.author == self.viewer || self.stories.contains(&story.story)
    }
}

/// List the stories of followed users
///
/// Stories are grouped by author: the caller's own group first, then groups with unviewed stories, then the others, each
/// newest first. At most 500 groups of 100 stories.
#[utoipa::path(
    get, path = "/v1/stories", tag = "stories", security(("token" = [])), params(QueryHeaders),
    responses((status = 200, body = StoryGroups), (status = 304), Problems)
)]
async fn list_story_groups(
    State(queries): State<Queries>,
    session: Session,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views: Vec<&str> = VIEWS.into_iter().chain([story_authors::VIEW.name]).collect();
    let caught_up = queries.catch_up(&conditions, &views).await;
    answer(&conditions, caught_up, &StoryGroups { items: queries.story_groups(session).await? })
}

/// List all stories, newest first
#[utoipa::path(
    get, path = "/v1/stories/newest", tag = "stories", security((), ("token" = [])),
    params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<AuthoredStory>), (status = 304), Problems)
)]
async fn list_newest_stories(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &NEWEST, Vec::new(), paging.limit);
    answer(&conditions, caught_up, &queries.stories_page(query, &paging, viewer).await?)
}

/// List a user's stories, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/stories", tag = "stories", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<AuthoredStory>), (status = 304), Problems)
)]
async fn list_user_stories(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &BY_AUTHOR, vec![json!(user)], paging.limit);
    answer(&conditions, caught_up, &queries.stories_page(query, &paging, viewer).await?)
}

/// Get a story
#[utoipa::path(
    get, path = "/v1/users/{user}/stories/{story}", tag = "stories", security((), ("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        QueryHeaders
    ),
    responses((status = 200, body = AuthoredStory), (status = 304), Problems)
)]
async fn get_story(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path((user, story)): Path<(UserId, StoryId)>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    answer(&conditions, caught_up, &queries.story_of(user, story, viewer).await?)
}

/// List the viewers of a story, latest first
///
/// Only the author of the story can list them.
#[utoipa::path(
    get, path = "/v1/users/{user}/stories/{story}/viewers", tag = "stories", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        PageParams,
        QueryHeaders
    ),
    responses((status = 200, body = PageOf<ViewerOfStory>), (status = 304), Problems)
)]
async fn list_story_viewers(
    State(queries): State<Queries>,
    session: Session,
    Path((user, story)): Path<(UserId, StoryId)>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    if user != session.user {
        return Err(Problem::forbidden("Only the author of a story can list its viewers"));
    }
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    queries.story_of(user, story, Some(session)).await?;
    let query = viewers_of(&story.to_string(), paging.limit);
    let found = queries.page_of::<StoryView>(query, &paging).await?;
    let people = queries.people(found.documents.iter().map(|view| view.viewer.clone())).await?;
    let seen = |view: &StoryView| {
        let viewed_at = DateTime::from_timestamp_millis(view.viewed).unwrap_or_default();
        Some((people.get(&view.viewer)?.clone(), viewed_at))
    };
    let (viewers, times): (Vec<Person>, Vec<DateTime<Utc>>) = found.documents.iter().filter_map(seen).unzip();
    let listed = queries.with_relationships(viewers, Some(session)).await?.into_iter().zip(times);
    let shown = listed.map(|(listed, viewed_at)| ViewerOfStory { listed, viewed_at }).collect();
    answer(&conditions, caught_up, &paging.page(shown, found.next.as_ref(), &BY_STORY))
}
