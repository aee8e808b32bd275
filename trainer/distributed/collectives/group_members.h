#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/distributed/job/store.h"

/// What the engines of real processes do before the members of a group connect.
namespace vmla::distributed {

/// This process's place in a group: `ranks` are the group's members by their numbers in the job,
/// ascending, `rank` this process's number.
int64_t index_among(const std::vector<int64_t>& ranks, int64_t rank);

/// Where in the store an engine ("gloo", "nccl") may write for this group. Groups of one name are
/// disjoint, so that their first rank tells them apart. A rank enters each of them once.
std::string group_key(Store& store,
                      const char* engine,
                      const std::string& name,
                      const std::vector<int64_t>& ranks,
                      int64_t rank);

}  // namespace vmla::distributed
