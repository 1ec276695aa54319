//! Where an event came from: the device, the card, the address, the network and the place, as far as the shop tells.
//!
//! What is kept is less than what is told, so that a history is no list of addresses: names are hashes, an IP address is the
//! hash of its network (the first 24 bits, of IPv6 the first 48), and a place is a cell of about ten kilometres.

use alloc::format;
use core::net::IpAddr;

use crate::{
    error::{Quoted, Result, bail},
    event::{clip, short_hash},
    math,
};

/// Where an event came from; 0 and none are what was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Hash of the device.
    pub device: u32,
    /// Hash of the card, or another means of payment.
    pub card: u32,
    /// Hash of the address that it goes to.
    pub address: u32,
    /// Hash of the network.
    pub network: u32,
    /// The place.
    pub place: Place,
    /// How many members the shop has seen with the device, 255 for more.
    pub device_members: u8,
}

/// A cell of 1/4096 of a turn in either direction, at most 9.8 km wide, or nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place([u8; 3]);

/// Cells around the equator; half as many lie between the poles.
const TURN: u32 = 4096;

/// The mean radius of the Earth in kilometres (IUGG).
const RADIUS: f64 = 6371.0088;

impl Place {
    /// The cell of a place in degrees.
    ///
    /// # Errors
    /// `invalid_origin` outside −90 to 90 and −180 to 180.
    pub fn at(latitude: f64, longitude: f64) -> Result<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            bail!(
                InvalidOrigin,
                "a place is a latitude from -90 to 90 and a longitude from -180 to 180, in degrees"
            );
        }
        let cells = |degrees: f64| math::floor(degrees / 360.0 * f64::from(TURN)) as u32;
        let row = cells(latitude + 90.0).min(TURN / 2 - 1);
        let [a, b, c, _] = (1 + row * TURN + cells(longitude + 180.0) % TURN).to_le_bytes();
        Ok(Self([a, b, c]))
    }

    /// Three bytes, all 0 for nowhere.
    pub fn bytes(self) -> [u8; 3] {
        self.0
    }

    /// What [`Place::bytes`] gave; `None` if no place has these bytes.
    pub fn of_bytes(bytes: [u8; 3]) -> Option<Self> {
        (Self(bytes).number() <= TURN * TURN / 2).then_some(Self(bytes))
    }

    /// Whether no place was told.
    pub fn is_none(self) -> bool {
        self.number() == 0
    }

    /// Kilometres along the great circle between the middles of two cells (haversine); `None` from or to nowhere.
    pub fn distance(self, other: Self) -> Option<f64> {
        let ([a, b], [c, d]) = (self.radians()?, other.radians()?);
        let half = |x: f64, y: f64| {
            let sine = math::sin(libm::fabs(x - y) / 2.0);
            sine * sine
        };
        let h = half(a, c) + math::cos(libm::fabs(a)) * math::cos(libm::fabs(c)) * half(b, d);
        Some(2.0 * RADIUS * libm::asin(math::sqrt(h.min(1.0))))
    }

    fn number(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Latitude and longitude of the middle.
    fn radians(self) -> Option<[f64; 2]> {
        let cell = self.number().checked_sub(1)?;
        let middle = |cells: u32| (f64::from(cells) + 0.5) / f64::from(TURN) * core::f64::consts::TAU;
        Some([
            middle(cell / TURN) - core::f64::consts::FRAC_PI_2,
            middle(cell % TURN) - core::f64::consts::PI,
        ])
    }
}

/// The hash of the network of an IP address.
///
/// # Errors
/// `invalid_origin` for what is no IPv4 or IPv6 address.
pub(crate) fn network(ip: &str) -> Result<u32> {
    let Ok(address) = ip.parse::<IpAddr>() else {
        bail!(InvalidOrigin, "{} is not an IP address, as 203.0.113.7 or 2001:db8::7", Quoted(clip(ip)));
    };
    Ok(match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            short_hash(&format!("{a}.{b}.{c}"))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            short_hash(&format!("{a:x}:{b:x}:{c:x}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_globe() {
        let place = |latitude, longitude| Place::at(latitude, longitude).unwrap();
        // Great circles by the coordinates of the city centres; a cell is off by at most seven kilometres.
        for (a, b, kilometres) in [
            (place(52.52, 13.405), place(48.8566, 2.3522), 878.0),
            (place(40.7128, -74.006), place(-33.8688, 151.2093), 15_989.0),
            (place(0.0, 179.99), place(0.0, -179.99), 2.2),
            (place(90.0, 0.0), place(-90.0, 0.0), 20_015.0),
        ] {
            let found = a.distance(b).unwrap();
            assert!((found - kilometres).abs() < 14.0, "{found} {kilometres}");
            assert_eq!(b.distance(a), Some(found));
            assert_eq!(a.distance(a), Some(0.0));
        }
        assert_eq!(Place::default().distance(place(0.0, 0.0)), None);
    }

    #[test]
    fn places_are_cells_and_have_bytes() {
        for (latitude, longitude) in [(-90.0, -180.0), (90.0, 180.0), (0.0, 0.0), (-0.01, 179.999)] {
            let place = Place::at(latitude, longitude).unwrap();
            assert!(!place.is_none());
            assert_eq!(Place::of_bytes(place.bytes()), Some(place));
        }
        assert_eq!(Place::at(10.0, 180.0).unwrap(), Place::at(10.0, -180.0).unwrap(), "the same meridian");
        assert_eq!(Place::of_bytes([255; 3]), None);
        for (latitude, longitude) in [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Place::at(latitude, longitude).unwrap_err().code(), "invalid_origin");
        }
    }

    #[test]
    fn a_network_is_the_beginning_of_an_address() {
        assert_eq!(network("203.0.113.7").unwrap(), network("203.0.113.250").unwrap());
        assert_ne!(network("203.0.113.7").unwrap(), network("203.0.114.7").unwrap());
        assert_eq!(network("::ffff:203.0.113.7").unwrap(), network("203.0.113.9").unwrap());
        assert_eq!(network("2001:db8:1::7").unwrap(), network("2001:db8:1:ffff::9").unwrap());
        assert_ne!(network("2001:db8:1::7").unwrap(), network("2001:db8:2::7").unwrap());
        for bad in ["", "203.0.113", "203.0.113.7/24", "localhost", "1.2.3.999"] {
            assert_eq!(network(bad).unwrap_err().code(), "invalid_origin", "{bad}");
        }
    }
}
