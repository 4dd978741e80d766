//! Posts, with their authors and their relation to the viewer.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use events::{PostId, UserId};
use resources::{Image, Person, Post as PostPage, PostViewer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::comments;
use views::social::likes::{self, Like};
use views::social::posts::{Post, VIEW};
use views::social::saves::{self, Save};
use views::{Cursor, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::social::timelines::{self, Timeline, TimelinePage};
use crate::{Queries, store_problem};

/// The views that a page of posts reads.
const VIEWS: [&str; 4] = [VIEW.name, comments::VIEW.name, profiles::VIEW.name, saves::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_posts))
        .routes(routes!(get_post))
        .routes(routes!(list_user_posts))
}

impl Queries {
    /// The visible ones of these posts, in order, as shown.
    pub(crate) async fn show_posts(
        &self,
        page: TimelinePage,
        viewer: Option<Session>,
    ) -> Result<Vec<PostPage>, Problem> {
        let TimelinePage { posts, authors, next: _ } = page;
        let (flags, counts) =
            futures::try_join!(self.viewer_flags(&posts, viewer), self.comment_counts(&posts))?;
        let shown = posts.into_iter().zip(counts).filter_map(|(post, comments)| {
            let author = self.person(authors.get(&post.author)?.clone());
            let viewer = flags.as_ref().map(|(liked, saved)| PostViewer {
                liked: liked.contains(&post.post),
                saved: saved.contains(&post.post),
            });
            Some(self.show_post(post, comments, author, viewer))
        });
        Ok(shown.collect())
    }

    /// Which of these posts the viewer likes, and which the viewer has saved.
    async fn viewer_flags(
        &self,
        posts: &[Post],
        viewer: Option<Session>,
    ) -> Result<Option<(HashSet<String>, HashSet<String>)>, Problem> {
        let Some(session) = viewer else { return Ok(None) };
        let viewer = session.user.to_string();
        let likes: Vec<String> = posts.iter().map(|post| likes::key(&post.post, &viewer)).collect();
        let saves: Vec<String> = posts.iter().map(|post| saves::key(&viewer, &post.post)).collect();
        let (liked, saved) =
            futures::try_join!(self.store.get_all::<Like>(&likes), self.store.get_all::<Save>(&saves))
                .map_err(store_problem)?;
        let liked = liked.into_iter().flatten().map(|like| like.post).collect();
        let saved = saved.into_iter().flatten().map(|save| save.post).collect();
        Ok(Some((liked, saved)))
    }

    fn show_post(&self, post: Post, comments: i64, author: Person, viewer: Option<PostViewer>) -> PostPage {
        let Post { post: id, images, caption, edited, published, likes, .. } = post;
        let image = |image: views::social::posts::Image| {
            let size = (image.width, image.height);
            Image::new(&self.public_url, &image.media, size, image.alt, image.placeholder)
        };
        let images = images.into_iter().map(image).collect();
        let published_at = DateTime::from_timestamp_millis(published).unwrap_or_default();
        PostPage { id, author, caption, edited, images, published_at, likes, comments, viewer }
    }

    pub(crate) async fn posts_page(
        &self,
        timeline: &Timeline<'_>,
        paging: &Paging,
        viewer: Option<Session>,
    ) -> Result<PageOf<PostPage>, Problem> {
        let index = timeline.index();
        let below = paging.below(index)?;
        let page = timeline.page(&*self.store, below, paging.limit).await.map_err(store_problem)?;
        let next = page.next.map(Cursor::below);
        let items = self.show_posts(page, viewer).await?;
        Ok(paging.page(items, next.as_ref(), index))
    }

    /// A post with its author.
    ///
    /// # Errors
    /// 404 if there is no visible one.
    pub(crate) async fn visible_post(&self, post: PostId) -> Result<TimelinePage, Problem> {
        let page = timelines::visible(&*self.store, &[post.to_string()]).await.map_err(store_problem)?;
        if page.posts.is_empty() { Err(Problem::not_found("There is no such post")) } else { Ok(page) }
    }
}

/// List all posts, newest first
#[utoipa::path(
    get, path = "/v1/posts", tag = "posts", security((), ("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PostPage>), (status = 304), Problems)
)]
async fn list_posts(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    answer(&conditions, caught_up, &queries.posts_page(&Timeline::Newest, &paging, viewer).await?)
}

/// Get a post
#[utoipa::path(
    get, path = "/v1/posts/{post}", tag = "posts", security((), ("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = PostPage), (status = 304), Problems)
)]
async fn get_post(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(post): Path<PostId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.visible_post(post).await?;
    let shown = queries.show_posts(found, viewer).await?.pop();
    let shown = shown.ok_or_else(|| Problem::not_found("There is no such post"))?;
    answer(&conditions, caught_up, &shown)
}

/// List a user's posts, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/posts", tag = "posts", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PostPage>), (status = 304), Problems)
)]
async fn list_user_posts(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let user = user.to_string();
    answer(&conditions, caught_up, &queries.posts_page(&Timeline::Of(&user), &paging, viewer).await?)
}
