use std::fmt;

use async_trait::async_trait;
use serde::Deserialize;

/// A bounce or complaint about one address.
#[derive(Clone, PartialEq, Eq)]
pub struct Feedback {
    pub address: String,
    pub verdict: Verdict,
    /// The mail service's id of the mail.
    pub message_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The mail bounced. Permanent: the address will never accept mail.
    Bounced { permanent: bool },
    /// The recipient marked the mail as spam.
    Complained,
}

impl fmt::Debug for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feedback({:?})", self.verdict)
    }
}

/// A queued notice: SNS wraps the notice of SES, unless raw delivery is configured.
#[derive(Deserialize)]
#[serde(untagged)]
enum Notice {
    Wrapped {
        #[serde(rename = "Message")]
        message: String,
    },
    Raw(SesNotice),
}

/// The notice of SES: identity notifications use `notificationType`, events of a configuration set use `eventType`.
/// Source: <https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SesNotice {
    #[serde(alias = "eventType")]
    notification_type: String,
    mail: AboutMail,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutMail {
    message_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    bounced_recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
    complaint_feedback_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

impl Feedback {
    /// Parses one notice; empty if it is neither a bounce nor a complaint, such as a delivery.
    ///
    /// # Errors
    /// If it is not a notice of SES. The error does not quote it.
    pub fn read(notice: &str) -> Result<Vec<Self>, String> {
        let unreadable =
            |e: serde_json::Error| format!("not a notice of SES (line {}, column {})", e.line(), e.column());
        let notice = match serde_json::from_str(notice).map_err(unreadable)? {
            Notice::Wrapped { message } => serde_json::from_str(&message).map_err(unreadable)?,
            Notice::Raw(notice) => notice,
        };
        let kind = notice.notification_type.as_str();
        let (recipients, verdict) = match (kind, notice.bounce, notice.complaint) {
            ("Bounce", Some(bounce), _) => {
                (bounce.bounced_recipients, Verdict::Bounced { permanent: bounce.bounce_type == "Permanent" })
            }
            ("Complaint", _, Some(complaint)) => match complaint.complaint_feedback_type.as_deref() {
                // The recipient took the mail out of the spam folder: the opposite of a complaint.
                Some("not-spam") => return Ok(Vec::new()),
                _ => (complaint.complained_recipients, Verdict::Complained),
            },
            ("Bounce" | "Complaint", ..) => return Err("a notice of SES without details".to_owned()),
            _ => return Ok(Vec::new()),
        };
        let feedback = |recipient: Recipient| Self {
            address: bare(&recipient.email_address).to_owned(),
            verdict,
            message_id: notice.mail.message_id.clone(),
        };
        Ok(recipients.into_iter().map(feedback).collect())
    }
}

/// The address without a display name.
fn bare(address: &str) -> &str {
    let inside = address.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(address, |(inside, _)| inside).trim()
}

/// A notice, and the receipt that deletes it from its queue.
#[derive(Clone)]
pub struct QueuedNotice {
    pub body: String,
    #[cfg_attr(not(feature = "ses"), expect(dead_code, reason = "only the queue of SES gives receipts"))]
    pub(super) receipt: String,
}

/// Where a mail service reports bounces and complaints.
#[async_trait]
pub trait FeedbackSource: fmt::Debug + Send + Sync + 'static {
    /// Waits for notices.
    ///
    /// # Errors
    /// If the queue cannot be reached.
    async fn receive(&self) -> Result<Vec<QueuedNotice>, String>;

    /// Deletes a notice from the queue; otherwise it is delivered again.
    ///
    /// # Errors
    /// If the queue cannot be reached.
    async fn delete(&self, notice: QueuedNotice) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn feedback(address: &str, verdict: Verdict) -> Feedback {
        Feedback { address: address.into(), verdict, message_id: "0100-a1".into() }
    }

    fn bounce(kind: &str, name: &str) -> Value {
        json!({
            name: "Bounce",
            "mail": { "messageId": "0100-a1", "destination": ["ann@example.org"], "source": "no-reply@chorus.example" },
            "bounce": {
                "bounceType": kind, "bounceSubType": "General", "feedbackId": "f",
                "bouncedRecipients": [
                    { "emailAddress": "ann@example.org", "status": "5.1.1", "diagnosticCode": "smtp; 550" },
                    { "emailAddress": "Bob <bob@example.org>" },
                ],
            },
        })
    }

    fn complaint(kind: Option<&str>) -> Value {
        json!({
            "notificationType": "Complaint",
            "mail": { "messageId": "0100-a1" },
            "complaint": {
                "complainedRecipients": [{ "emailAddress": "ann@example.org" }],
                "complaintFeedbackType": kind,
            },
        })
    }

    #[test]
    fn bounces_and_complaints_are_read_wrapped_or_raw() {
        let permanent = Verdict::Bounced { permanent: true };
        let both = vec![feedback("ann@example.org", permanent), feedback("bob@example.org", permanent)];
        for name in ["notificationType", "eventType"] {
            let notice = bounce("Permanent", name);
            assert_eq!(Feedback::read(&notice.to_string()), Ok(both.clone()));
            let wrapped = json!({ "Type": "Notification", "MessageId": "m", "Message": notice.to_string() });
            assert_eq!(Feedback::read(&wrapped.to_string()), Ok(both.clone()));
        }
        for kind in ["Transient", "Undetermined"] {
            let read = Feedback::read(&bounce(kind, "eventType").to_string()).unwrap();
            assert_eq!(read[0].verdict, Verdict::Bounced { permanent: false }, "{kind}");
        }
        for kind in [None, Some("abuse")] {
            let read = Feedback::read(&complaint(kind).to_string());
            assert_eq!(read, Ok(vec![feedback("ann@example.org", Verdict::Complained)]));
        }
    }

    #[test]
    fn other_notices_are_ignored() {
        assert_eq!(Feedback::read(&complaint(Some("not-spam")).to_string()), Ok(vec![]));
        for kind in ["Delivery", "Send", "Open", "DeliveryDelay"] {
            let notice = json!({ "eventType": kind, "mail": { "messageId": "m" }, kind.to_lowercase(): {} });
            assert_eq!(Feedback::read(&notice.to_string()), Ok(vec![]), "{kind}");
        }
    }

    #[test]
    fn invalid_notice_is_rejected_without_being_quoted() {
        for bad in [
            String::new(),
            "ann@example.org".into(),
            "{}".into(),
            "[]".into(),
            json!({ "Type": "Notification", "Message": "Successfully validated ann@example.org" })
                .to_string(),
            json!({ "eventType": "Bounce", "mail": { "messageId": "m" } }).to_string(),
            json!({ "eventType": "Bounce", "mail": { "messageId": "m" }, "bounce": { "bounceType": 7 } })
                .to_string(),
            json!({ "eventType": "Complaint", "bounce": {}, "mail": { "messageId": "ann@example.org" } })
                .to_string(),
        ] {
            let problem = Feedback::read(&bad).unwrap_err();
            assert!(!problem.contains("example.org"), "{problem}");
        }
    }
}
