//! One sample of each event, for tests of general properties; a test checks that none is missing.

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

#[allow(
    clippy::wildcard_imports,
    reason = "there is one of nearly everything; not so much as a warning in tests"
)]
use crate::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn user(n: u128) -> UserId {
    UserId::new(id(n))
}

/// One sample of each event, with all fields set.
#[expect(clippy::too_many_lines, reason = "a list")]
pub fn samples() -> Vec<Event> {
    let (ann, bob) = (user(0xa), user(0xb));
    let (name, address) = (ClaimHash::new([0x11; 16]), ClaimHash::new([0x22; 16]));
    let (session, post, comment) =
        (SessionId::new(id(0x5e)), PostId::new(id(0x90)), CommentId::new(id(0xc0)));
    let (story, collection) = (StoryId::new(id(0x57)), CollectionId::new(id(0xc7)));
    let request = MailedRequestId::new(id(0x3a));
    let event = EventId::new(id(0xe0));
    let image = Image { media: MediaId::new(id(0x1a)), width: 1080, height: 1350 };
    let text = |text: &str| Personal::Open(text.to_owned());
    vec![
        SignedUp {
            user: ann,
            username: name,
            email: address,
            app: App::Instamern,
            person: Personal::Open(NewPerson {
                username: "ann".into(),
                email: "ann@example.org".into(),
                password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
                firstname: "Ann".into(),
                lastname: "Lee".into(),
            }),
        }
        .into(),
        UsernameChanged { user: ann, username: name, spelling: text("Annie") }.into(),
        EmailVerificationRequested { user: ann, request, app: App::Chorus }.into(),
        EmailVerified { user: ann, email: address }.into(),
        PasswordChanged {
            user: ann,
            password_hash: text("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"),
            reason: PasswordChangeReason::Chosen,
            kept: Some(session),
        }
        .into(),
        PasswordResetRequested { user: ann, request, app: App::Spotifymern }.into(),
        EmailChangeRequested {
            user: ann,
            request,
            email: address,
            address: text("lee@example.org"),
            session: Some(session),
            app: App::Chorus,
        }
        .into(),
        EmailChanged {
            user: ann,
            email: address,
            address: text("lee@example.org"),
            verified: true,
            kept: Some(session),
            app: App::Chorus,
        }
        .into(),
        SessionsEnded { user: ann, kept: Some(session) }.into(),
        RoleGranted { user: ann, role: Role::Moderator }.into(),
        RoleRevoked { user: ann, role: Role::Artist }.into(),
        Deactivated { user: ann }.into(),
        Reactivated { user: ann }.into(),
        Suspended { user: ann, reason: text("spam") }.into(),
        Reinstated { user: ann }.into(),
        ClaimAbandoned { user: ann, claim: name }.into(),
        Erased { user: ann }.into(),
        UsernameClaimed { username: name, user: ann }.into(),
        UsernameReleased { username: name, user: ann }.into(),
        EmailClaimed { email: address, user: ann }.into(),
        EmailReleased { email: address, user: ann }.into(),
        SessionStarted {
            user: ann,
            session,
            expires: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_800_000_000_123),
            client: Personal::Open(Client { device: "Firefox".into(), address: "192.0.2.7".into() }),
        }
        .into(),
        SessionSeen { user: ann, session, since: Position(7) }.into(),
        SessionEnded { user: ann, session, reason: SessionEndReason::LoggedOut }.into(),
        ProfileEdited {
            user: ann,
            details: Personal::Open(ProfileDetails {
                firstname: "Ann".into(),
                lastname: "Lee".into(),
                bio: "Light and water".into(),
            }),
        }
        .into(),
        PhotoChanged { user: ann, photo: image }.into(),
        PhotoRemoved { user: ann }.into(),
        PrivacyChanged { user: ann, private: true }.into(),
        PostPublished {
            post,
            author: ann,
            images: vec![image],
            text: Personal::Open(PostText {
                caption: Some("Dawn".into()),
                alt: vec!["A lake at dawn".into()],
                placeholders: vec!["LEHV6nWB2yk8pyo0adR*.7kCMdnj".into()],
            }),
        }
        .into(),
        CaptionEdited { post, author: ann, caption: text("Dusk") }.into(),
        PostDeleted { post, author: ann }.into(),
        Commented {
            post,
            comment,
            author: bob,
            post_author: ann,
            reply_to: Some(CommentId::new(id(0xc1))),
            reply_to_author: Some(ann),
            text: text("Lovely"),
        }
        .into(),
        CommentDeleted { post, comment, author: bob, post_author: ann, reply_to_author: Some(ann) }.into(),
        PostLiked { post, user: bob, post_author: ann }.into(),
        PostUnliked { post, user: bob, post_author: ann }.into(),
        Followed { follower: bob, followee: ann }.into(),
        FollowRequested { follower: bob, followee: ann }.into(),
        FollowAccepted { follower: bob, followee: ann }.into(),
        Unfollowed { follower: bob, followee: ann, only_requested: true }.into(),
        StoryPublished {
            author: ann,
            story,
            image,
            text: Personal::Open(StoryText {
                alt: "A lake at dawn".into(),
                placeholder: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
            }),
        }
        .into(),
        StoryDeleted { author: ann, story }.into(),
        StoryExpired { author: ann, story }.into(),
        StoryViewed { story, viewer: bob, author: ann }.into(),
        NotificationsRead { user: ann, up_to: Position(7) }.into(),
        PostSaved { user: bob, post, post_author: ann, collection: Some(collection) }.into(),
        PostUnsaved { user: bob, post }.into(),
        CollectionCreated { user: bob, collection, name: text("Lakes") }.into(),
        CollectionRenamed { user: bob, collection, name: text("Mountains") }.into(),
        CollectionDeleted { user: bob, collection }.into(),
        MailReserved { event, template: MailTemplate::Welcome, user: ann, recipient: address, attempt: 1 }
            .into(),
        MailSent { event, template: MailTemplate::PasswordReset, user: ann, message_id: "0100-a1".into() }
            .into(),
        MailFailed {
            event,
            template: MailTemplate::NewDevice,
            user: ann,
            attempt: 2,
            error: text("slow down"),
        }
        .into(),
        MailGivenUp {
            event,
            template: MailTemplate::EmailVerification,
            user: ann,
            reason: MailGivenUpReason::Refused,
            attempts: 2,
            error: text("ann@example.org is not taken"),
        }
        .into(),
        MailBounced { email: address, permanent: true, message_id: "0100-a1".into() }.into(),
        MailComplained { email: address, message_id: "0100-a1".into() }.into(),
        ContentRemoved { content: Content::Comment { post, comment }, author: bob, reason: text("abuse") }
            .into(),
        ContentRestored { content: Content::Story { author: ann, story }, author: ann }.into(),
    ]
}

/// The samples with personal data, with a marker in all personal texts.
///
/// # Errors
/// If a value does not accept the marker.
pub fn marked_samples(marker: &str) -> Result<Vec<Event>, Box<dyn std::error::Error + Send + Sync>> {
    let mut marked = Vec::new();
    for mut event in samples() {
        if let Some((_, personal)) = event.personal() {
            personal.mark(marker)?;
            marked.push(event);
        }
    }
    Ok(marked)
}
