//! What a link does to packets, as set by `PUT /netsim/rules`.

use serde::{Deserialize, Serialize};

/// Both directions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Session to browser.
    pub down: LinkRules,
    /// Browser to session.
    pub up: LinkRules,
}

/// One direction. What is absent is not done.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkRules {
    /// Nothing passes, not even what is under way.
    pub drop: bool,
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// They are lost in bursts of so many packets on average (Gilbert's model), 1 to 1000. Absent: each by itself.
    pub loss_burst: Option<f64>,
    /// Every packet takes this long.
    pub delay_ms: u64,
    /// And up to this much longer, evenly distributed. Packets stay in order.
    pub jitter_ms: u64,
    /// Share of packets that are held back by [`crate::link::HELD_BACK`] and so overtaken, 0 to 1.
    pub reorder: f64,
    /// Capacity of the link.
    pub rate_kbps: Option<u64>,
    /// Packets that would wait longer than this for a link of limited capacity are lost. One second if absent.
    pub queue_ms: Option<u64>,
    /// The queue of a link of limited capacity drops packets by CoDel (RFC 8289) as well, long before it is full.
    pub codel: bool,
}

impl Rules {
    /// Reads and checks them.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let rules: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        for (name, link) in [("down", rules.down), ("up", rules.up)] {
            for (field, share) in [("loss", link.loss), ("reorder", link.reorder)] {
                if !(0.0..=1.0).contains(&share) {
                    return Err(format!("{name}.{field}: must be from 0 to 1, not {share}"));
                }
            }
            if let Some(burst) = link.loss_burst.filter(|burst| !(1.0..=1000.0).contains(burst)) {
                return Err(format!("{name}.loss_burst: must be from 1 to 1000, not {burst}"));
            }
            if link.loss_burst.is_some() && link.loss > 0.9 {
                return Err(format!("{name}.loss: must be at most 0.9 in bursts, not {}", link.loss));
            }
            if link.rate_kbps == Some(0) {
                return Err(format!("{name}.rate_kbps: must not be 0; drop stops a link"));
            }
            for (field, ms) in [("delay_ms", link.delay_ms), ("jitter_ms", link.jitter_ms)] {
                if ms > 60_000 {
                    return Err(format!("{name}.{field}: must be at most 60000, not {ms}"));
                }
            }
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_a_good_network() {
        assert_eq!(Rules::parse(b"{}"), Ok(Rules::default()));
        let one = Rules::parse(br#"{"up":{"drop":true}}"#).unwrap();
        assert!(one.up.drop && !one.down.drop);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, name) in [
            (r#"{"down":{"loss":1.5}}"#, "down.loss"),
            (r#"{"up":{"rate_kbps":0}}"#, "up.rate_kbps"),
            (r#"{"up":{"loss_burst":0.5}}"#, "up.loss_burst"),
            (r#"{"down":{"loss":0.95,"loss_burst":2}}"#, "down.loss"),
            (r#"{"up":{"dorp":true}}"#, "dorp"),
            (r#"{"up":{"delay_ms":70000}}"#, "up.delay_ms"),
        ] {
            let error = Rules::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
