//! What is counted in the window, and what is told of it.

use std::{fs, io, time::Duration};

#[derive(Default)]
pub struct Counts {
    pub nanoseconds: Vec<u32>,
    /// How much later than at its time a paced request left this process.
    pub late: Vec<u32>,
    pub unexpected: u64,
    pub broken: u64,
    pub last_status: u16,
    /// Handshakes, with and without a ticket.
    pub full: u64,
    pub resumed: u64,
}

impl Counts {
    pub fn answered(&mut self, took: Duration, status: u16, expected: u16) {
        self.nanoseconds.push(nanoseconds(took));
        self.unexpected += u64::from(status != expected);
        self.last_status = status;
    }

    pub fn add(&mut self, other: Self) {
        self.nanoseconds.extend(other.nanoseconds);
        self.late.extend(other.late);
        self.unexpected += other.unexpected;
        self.broken += other.broken;
        self.last_status = self.last_status.max(other.last_status);
        self.full += other.full;
        self.resumed += other.resumed;
    }

    pub fn report(mut self, window: Duration, cpu: f64) -> io::Result<serde_json::Value> {
        let requests = self.nanoseconds.len();
        let sorted = Quantiles::of(&mut self.nanoseconds);
        let late = Quantiles::of(&mut self.late);
        Ok(serde_json::json!({
            "requests": requests,
            "unexpected": self.unexpected,
            "broken": self.broken,
            "last_status": self.last_status,
            "seconds": window.as_secs_f64(),
            "per_second": requests as f64 / window.as_secs_f64(),
            "cpu_seconds": cpu,
            "cpu_us_per_request": cpu * 1e6 / requests as f64,
            "load_cpu_seconds": cpu_seconds(&["self".to_owned()])?,
            "p50_us": sorted.at(0.5),
            "p90_us": sorted.at(0.9),
            "p99_us": sorted.at(0.99),
            "p999_us": sorted.at(0.999),
            "max_us": sorted.at(1.0),
            "late_p50_us": late.at(0.5),
            "late_p99_us": late.at(0.99),
            "full_handshakes": self.full,
            "resumed_handshakes": self.resumed,
        }))
    }
}

struct Quantiles<'a>(&'a [u32]);

impl<'a> Quantiles<'a> {
    fn of(values: &'a mut [u32]) -> Self {
        values.sort_unstable();
        Self(values)
    }

    /// Microseconds.
    fn at(&self, share: f64) -> Option<f64> {
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).map(|&ns| f64::from(ns) / 1e3)
    }
}

pub fn nanoseconds(took: Duration) -> u32 {
    u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)
}

/// User and system time of whole processes, ended threads included.
pub fn cpu_seconds(pids: &[String]) -> io::Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        ticks += fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, fixed by the kernel's interface
