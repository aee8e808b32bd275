#pragma once

#include <optional>
#include <string>

/// Numbers as people read them. "–" stands for what is not known, NaN and infinity.
namespace vmla::analysis {

/// Three significant digits; from 1000 on without decimals, from 10 000 on with k, M or G.
std::string short_number(double value);
std::string short_number(std::optional<double> value);

/// A share in 0..1 as "87.5 %".
std::string percent(std::optional<double> share);

}  // namespace vmla::analysis
