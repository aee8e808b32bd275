#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vmla::data {

class LatentFile;

/// Which clips a dataset holds, whatever its files are called and wherever they lie: two datasets
/// with equal identities train the same. A run that resumes compares it with its checkpoint's.
struct DatasetIdentity {
  int64_t clips = 0;  // or prompts
  std::string hash;   // SHA-256, 64 hex digits
  bool operator==(const DatasetIdentity&) const = default;
};

/// The identity of the dataset that these files are, in their order. One file and a folder with
/// just that file have the same.
///
/// The hash covers what describes the clips (attributes, shapes, captions, sources, rows of text)
/// and the numbers of some of them: the first, the last and others evenly between, 64 clips or
/// 64 MiB of a file at most, which is read here. RunError if the disk fails.
DatasetIdentity dataset_identity(const std::vector<std::unique_ptr<LatentFile>>& files);

}  // namespace vmla::data
