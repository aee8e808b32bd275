#pragma once

#include <string>

namespace vmla::analysis {

/// Which program wrote a page, when and where: "vmla 0.1.0, commit 0123456789ab, 2026-11-28 21:20
/// UTC, on HOST" (plain text). The commit is that of the sources at build time, with "+" behind it
/// where they had been changed since; it is left out where they came without their repository.
///
/// Where the environment variable SOURCE_DATE_EPOCH is a number of seconds since 1970, it is the
/// date and the host is left out: pages are then the same on every machine
/// (reproducible-builds.org).
std::string page_origin();

}  // namespace vmla::analysis
