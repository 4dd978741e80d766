//! Rate limits. Each process counts by itself, in memory. Counters are keyed by a keyed hash of the client or
//! account, so no names or addresses are stored; their number is bounded.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::http::ClientAddress;
use crate::problem::{Problem, whole_seconds};
use service::config::LimitSettings;

/// Maximum number of counters per limit, about 100 bytes each. Beyond that, rarely and least recently used ones are
/// dropped and start again: this gains an attacker with that many addresses nothing.
const COUNTED: usize = 100_000;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Log-ins per account and address: enough for a user who tries several passwords.
const LOG_INS_FROM_ONE: (u32, Duration) = (10, Duration::from_mins(10));
/// Log-ins per account from all addresses: more than the owner's devices need, far fewer than guessing needs. An
/// attacker who exhausts it blocks new sessions of the account; existing ones continue.
const LOG_INS_OF_ACCOUNT: (u32, Duration) = (100, HOUR);
/// Mails to one address, and mails requested by one address.
const MAILS_TO_MAILBOX: (u32, Duration) = (5, HOUR);
const MAILS_FROM_ADDRESS: (u32, Duration) = (20, HOUR);

/// Draft `draft-ietf-httpapi-ratelimit-headers`: the policy, and the remaining quota.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Monotonic time. Tests use governor's fake clock.
#[derive(Clone)]
pub struct MonotonicClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Default for MonotonicClock {
    fn default() -> Self {
        let start = Instant::now();
        Self(Arc::new(move || start.elapsed()))
    }
}

impl fmt::Debug for MonotonicClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MonotonicClock({:?})", (self.0)())
    }
}

impl Clock for MonotonicClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        (self.0)().into()
    }
}

#[cfg(test)]
impl From<&governor::clock::FakeRelativeClock> for MonotonicClock {
    fn from(clock: &governor::clock::FakeRelativeClock) -> Self {
        let clock = clock.clone();
        Self(Arc::new(move || clock.now().into()))
    }
}

/// An operation worth attacking by repetition. Accounts and mailboxes are identified by ids that do not depend on the
/// spelling of a name in the request.
#[derive(Debug, Clone, Copy)]
pub enum Attempt<'a> {
    /// Any verification of a password.
    LogIn {
        /// The id of the account, or, for an unknown name, the hash of its claim. Both are counted alike, so that a
        /// limit does not reveal whether an account exists.
        account: Uuid,
        from: ClientAddress,
    },
    SignUp {
        from: ClientAddress,
    },
    /// Requests that cause unsolicited mails: a reset, a verification.
    Mail {
        /// The hashes of the recipients' addresses.
        mailboxes: &'a [Uuid],
        /// None if the request was already counted as another attempt.
        from: Option<ClientAddress>,
    },
}

/// A rate limit of attempts is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyAttempts {
    /// Time until the next attempt is allowed.
    pub wait: Duration,
    policy: Policy,
}

impl From<TooManyAttempts> for Problem {
    fn from(TooManyAttempts { wait, policy }: TooManyAttempts) -> Self {
        let seconds = whole_seconds(wait).max(1);
        let detail = format!("Too many attempts: try again in {seconds} seconds");
        let budget = Budget { remaining: 0, reset: wait };
        let headers = [(RATE_LIMIT, policy.remaining(budget)), (RATE_LIMIT_POLICY, policy.header())];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Self { headers: headers.collect(), ..Self::too_many(detail, wait) }
    }
}

/// A limit as `RateLimit-Policy` names it.
/// Source: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    name: &'static str,
    count: u32,
    period: Duration,
}

impl Policy {
    /// The value of `RateLimit-Policy`.
    fn header(self) -> Option<HeaderValue> {
        let Self { name, count, period } = self;
        HeaderValue::try_from(format!("\"{name}\";q={count};w={}", period.as_secs())).ok()
    }

    /// The value of `RateLimit`.
    fn remaining(self, budget: Budget) -> Option<HeaderValue> {
        let Budget { remaining, reset } = budget;
        HeaderValue::try_from(format!("\"{}\";r={remaining};t={}", self.name, whole_seconds(reset))).ok()
    }
}

/// The limits of [`Attempt`]s.
#[derive(Debug)]
pub struct Limits(Option<AttemptLimits>);

#[derive(Debug)]
struct AttemptLimits {
    log_ins_from_one: Quotas,
    log_ins_of_account: Quotas,
    log_ins_and_sign_ups: Quotas,
    mails_to_mailbox: Quotas,
    mails_from_address: Quotas,
}

impl Limits {
    pub fn new(settings: &LimitSettings, clock: MonotonicClock) -> Self {
        let of = |name, (count, period): (u32, Duration)| {
            Quotas::new(Policy { name, count, period }, clock.clone())
        };
        let all = || {
            Some(AttemptLimits {
                log_ins_from_one: of("log-ins-of-account-by-address", LOG_INS_FROM_ONE)?,
                log_ins_of_account: of("log-ins-of-account", LOG_INS_OF_ACCOUNT)?,
                log_ins_and_sign_ups: of("log-ins-by-address", (settings.login_rate_limit, MINUTE))?,
                mails_to_mailbox: of("mails-to-mailbox", MAILS_TO_MAILBOX)?,
                mails_from_address: of("mails-by-address", MAILS_FROM_ADDRESS)?,
            })
        };
        Self(all())
    }

    /// Without any limits.
    pub fn none() -> Self {
        Self(None)
    }

    /// Counts an attempt that is about to be made, successful or not.
    ///
    /// # Errors
    /// If it is not allowed now.
    pub fn check(&self, attempt: Attempt<'_>) -> Result<(), TooManyAttempts> {
        let Some(limits) = &self.0 else { return Ok(()) };
        match attempt {
            // Limits per address come first: one address cannot use up the account's total limit.
            Attempt::LogIn { account, from } => {
                let from = from.rate_limit_key();
                limits
                    .log_ins_and_sign_ups
                    .take(from)
                    .and_then(|_| limits.log_ins_from_one.take((account, from)))
                    .and_then(|_| limits.log_ins_of_account.take(account))
                    .map(drop)
            }
            Attempt::SignUp { from } => limits.log_ins_and_sign_ups.take(from.rate_limit_key()).map(drop),
            Attempt::Mail { mailboxes, from } => from
                .map_or(Ok(()), |from| limits.mails_from_address.take(from.rate_limit_key()).map(drop))
                .and_then(|()| {
                    mailboxes.iter().try_for_each(|mailbox| limits.mails_to_mailbox.take(mailbox).map(drop))
                }),
        }
    }
}

/// The rate limit of all requests of an address.
#[derive(Debug)]
pub(crate) struct AddressLimit {
    quotas: Quotas,
    policy: HeaderValue,
}

/// The remaining quota of a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    remaining: u32,
    /// Time until the quota is complete again; if it is exhausted, until one request is allowed.
    reset: Duration,
}

impl AddressLimit {
    /// None without a limit.
    pub(crate) fn new(per_minute: u32, clock: MonotonicClock) -> Option<Self> {
        let policy = Policy { name: "address", count: per_minute, period: MINUTE };
        Some(Self { policy: policy.header()?, quotas: Quotas::new(policy, clock)? })
    }

    /// Counts a request, and rejects it above the limit.
    pub(crate) fn take(&self, address: ClientAddress) -> (Budget, Option<Problem>) {
        match self.quotas.take(address.rate_limit_key()) {
            Ok(remaining) => {
                let per_minute = self.quotas.policy.count;
                let taken = per_minute.saturating_sub(remaining);
                (Budget { remaining, reset: MINUTE * taken / per_minute }, None)
            }
            Err(TooManyAttempts { wait, .. }) => {
                let detail = "This address makes too many requests: try again a little later";
                (Budget { remaining: 0, reset: wait }, Some(Problem::too_many(detail, wait)))
            }
        }
    }

    /// Writes the headers, unless another limit has refused the request and is in them.
    pub(crate) fn write_headers(&self, budget: Budget, headers: &mut HeaderMap) {
        if headers.contains_key(RATE_LIMIT) {
            return;
        }
        if let Some(remaining) = self.quotas.policy.remaining(budget) {
            headers.insert(RATE_LIMIT, remaining);
        }
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
    }
}

/// One limit for many keys.
struct Quotas {
    policy: Policy,
    limiter: RateLimiter<u64, StateCache, MonotonicClock, StateInformationMiddleware>,
    hasher: RandomState,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quotas")
    }
}

impl Quotas {
    /// The count may be used at once or evenly. None for a count of zero, which means no limit.
    fn new(policy: Policy, clock: MonotonicClock) -> Option<Self> {
        let count = NonZeroU32::new(policy.count)?;
        let quota = Quota::with_period(policy.period / count.get())?.allow_burst(count);
        let limiter = RateLimiter::new(quota, StateCache(Cache::new(COUNTED)), clock);
        Some(Self { policy, limiter, hasher: RandomState::new() })
    }

    /// How many are left.
    fn take(&self, who: impl Hash) -> Result<u32, TooManyAttempts> {
        match self.limiter.check_key(&self.hasher.hash_one(who)) {
            Ok(snapshot) => Ok(snapshot.remaining_burst_capacity()),
            Err(refused) => {
                let wait = refused.wait_time_from(self.limiter.clock().now());
                Err(TooManyAttempts { wait, policy: self.policy })
            }
        }
    }
}

/// The states of recently active keys.
struct StateCache(Cache<u64, Arc<InMemoryState>>);

impl StateStore for StateCache {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(InMemoryState::default()));
        let Ok(state) = self.0.get_or_insert_with(key, new);
        state.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress(text.parse().unwrap())
    }

    const ANN: Uuid = Uuid::from_u128(0xa);
    const BOB: Uuid = Uuid::from_u128(0xb);

    fn user(number: u32) -> Uuid {
        Uuid::from_u128(u128::from(number) + 1000)
    }

    fn limits(login_rate_limit: u32) -> (Limits, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limits::new(&LimitSettings { login_rate_limit }, (&clock).into()), clock)
    }

    /// The number of attempts before the first rejection, and the time to wait then.
    fn let_through(limits: &Limits, attempt: impl Fn(u32) -> (Uuid, String)) -> (u32, Duration) {
        let (number, refusal) = first_refusal(limits, attempt);
        (number, refusal.wait)
    }

    fn first_refusal(limits: &Limits, attempt: impl Fn(u32) -> (Uuid, String)) -> (u32, TooManyAttempts) {
        for number in 0..1000 {
            let (account, from) = attempt(number);
            let attempt = Attempt::LogIn { account, from: address(&from) };
            if let Err(refusal) = limits.check(attempt) {
                return (number, refusal);
            }
        }
        panic!("never refused");
    }

    #[test]
    fn guessing_from_one_address_is_limited_and_recovers() {
        let (limits, clock) = limits(30);
        let one = |_| (ANN, "1.1.1.1".to_owned());
        let (count, refusal) = first_refusal(&limits, one);
        let wait = refusal.wait;
        assert_eq!((count, wait), (10, Duration::from_mins(1)));
        let problem = Problem::from(refusal);
        assert_eq!((problem.status.as_u16(), problem.retry_after), (429, Some(wait)));
        let headers = HeaderMap::from_iter(problem.headers);
        assert_eq!(headers[RATE_LIMIT], "\"log-ins-of-account-by-address\";r=0;t=60");
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"log-ins-of-account-by-address\";q=10;w=600");
        // Other accounts and other addresses are not affected.
        let again = |account, from| limits.check(Attempt::LogIn { account, from: address(from) });
        assert!(again(ANN, "1.1.1.1").is_err());
        assert!(again(BOB, "1.1.1.1").is_ok() && again(ANN, "2.2.2.2").is_ok());
        clock.advance(wait);
        assert_eq!(let_through(&limits, one).0, 1);
        clock.advance(HOUR);
        assert_eq!(let_through(&limits, one).0, 10);
    }

    #[test]
    fn guessing_one_account_from_many_addresses_is_limited() {
        let (limits, _) = limits(30);
        let spread = |number: u32| (ANN, format!("10.0.{}.{}", number / 200, number % 200));
        assert_eq!(let_through(&limits, spread), (100, Duration::from_secs(36)));
    }

    #[test]
    fn guessing_many_accounts_from_one_address_is_limited() {
        let (limits, _) = limits(30);
        // One IPv6 customer has many addresses.
        let spread = |number: u32| (user(number), format!("2001:db8::{number:x}"));
        assert_eq!(let_through(&limits, spread), (30, Duration::from_secs(2)));
        assert!(limits.check(Attempt::SignUp { from: address("2001:db8::ffff") }).is_err());
        assert!(limits.check(Attempt::SignUp { from: address("2001:db8:0:1::1") }).is_ok());
    }

    #[test]
    fn mails_are_limited_per_account_and_address() {
        let mails = |attempt: &dyn Fn(u32) -> (Vec<Uuid>, Option<String>)| {
            let (limits, _) = limits(30);
            (0..1000)
                .take_while(|&number| {
                    let (mailboxes, from) = attempt(number);
                    let from = from.map(|from| address(&from));
                    limits.check(Attempt::Mail { mailboxes: &mailboxes, from }).is_ok()
                })
                .count()
        };
        let from = |number: u32| Some(format!("10.0.0.{number}"));
        assert_eq!(mails(&|number| (vec![ANN], from(number))), 5);
        assert_eq!(mails(&|number| (vec![user(number), ANN], from(number))), 5);
        assert_eq!(mails(&|number| (vec![user(number)], from(1))), 20);
        assert_eq!(mails(&|number| (vec![user(number)], None)), 1000);
    }

    #[test]
    fn zero_limit_allows_everything() {
        let (limits, _) = limits(0);
        for _ in 0..1000 {
            limits.check(Attempt::LogIn { account: ANN, from: address("1.1.1.1") }).unwrap();
        }
        assert!(AddressLimit::new(0, MonotonicClock::default()).is_none());
    }

    #[test]
    fn headers_contain_remaining_quota_and_reset_time() {
        let clock = FakeRelativeClock::default();
        let limit = AddressLimit::new(60, (&clock).into()).unwrap();
        let take = |address: ClientAddress| {
            let (budget, refusal) = limit.take(address);
            let mut headers = HeaderMap::new();
            limit.write_headers(budget, &mut headers);
            assert_eq!(headers[RATE_LIMIT_POLICY], "\"address\";q=60;w=60");
            (headers[RATE_LIMIT].to_str().unwrap().to_owned(), refusal.is_some())
        };
        let one = address("1.1.1.1");
        assert_eq!(take(one), ("\"address\";r=59;t=1".to_owned(), false));
        for _ in 1..59 {
            take(one);
        }
        assert_eq!(take(one), ("\"address\";r=0;t=60".to_owned(), false));
        assert_eq!(take(one), ("\"address\";r=0;t=1".to_owned(), true));
        assert_eq!(take(address("2.2.2.2")), ("\"address\";r=59;t=1".to_owned(), false));
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(one), ("\"address\";r=0;t=60".to_owned(), false));
    }

    #[test]
    fn many_addresses_use_bounded_memory() {
        let quotas =
            Quotas::new(Policy { name: "test", count: 5, period: MINUTE }, MonotonicClock::default())
                .unwrap();
        for number in 0..2 * COUNTED {
            quotas.take(number).unwrap();
        }
        let kept = quotas.limiter.into_state_store().0.len();
        assert!(kept <= COUNTED && kept > COUNTED / 2, "{kept}");
    }
}
