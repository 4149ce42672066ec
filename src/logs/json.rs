//! A line of output as a JSON object, in pm2's shape.

use std::borrow::Cow;

use serde::Serialize;

/// One object of a `log_type: json` file.
#[derive(Debug, Serialize)]
pub struct Object<'a> {
    /// As the date's pattern has it, else RFC 3339 in UTC.
    pub timestamp: Cow<'a, str>,
    /// `out` or `err`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The app or pool.
    pub app_name: &'a str,
    /// The worker's id.
    pub process_id: Option<u32>,
    /// Without its newline.
    pub message: Cow<'a, str>,
    /// The line goes on in the next object, or did not end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Object<'_> {
    /// Appends it as one line.
    pub fn write(&self, out: &mut Vec<u8>) {
        // invariant: strings, a number and a bool go into JSON, and a Vec takes all that is written.
        let written = serde_json::to_writer(&mut *out, self);
        debug_assert!(written.is_ok());
        out.push(b'\n');
    }
}
