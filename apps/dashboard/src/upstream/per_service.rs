//! One value for each service.

use serde::{Deserialize, Serialize};

/// One value for each service, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the services' names")]
pub struct PerService<T> {
    pub profile: T,
    pub orders: T,
    pub inventory: T,
    pub prices: T,
    pub recommendations: T,
    pub ads: T,
}

impl<T> PerService<T> {
    /// Another value for each.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> PerService<U> {
        PerService {
            profile: f(self.profile),
            orders: f(self.orders),
            inventory: f(self.inventory),
            prices: f(self.prices),
            recommendations: f(self.recommendations),
            ads: f(self.ads),
        }
    }

    /// Borrows each.
    pub fn as_ref(&self) -> PerService<&T> {
        PerService {
            profile: &self.profile,
            orders: &self.orders,
            inventory: &self.inventory,
            prices: &self.prices,
            recommendations: &self.recommendations,
            ads: &self.ads,
        }
    }

    /// The value of the service of that name, if there is such a service.
    pub fn get(&self, name: &str) -> Option<&T> {
        let found = self.as_ref().into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }
}

impl<T> IntoIterator for PerService<T> {
    type Item = (&'static str, T);
    type IntoIter = std::array::IntoIter<Self::Item, 6>;

    fn into_iter(self) -> Self::IntoIter {
        [
            ("profile", self.profile),
            ("orders", self.orders),
            ("inventory", self.inventory),
            ("prices", self.prices),
            ("recommendations", self.recommendations),
            ("ads", self.ads),
        ]
        .into_iter()
    }
}
