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
/// Of a file with a seal that covers its clips (data/store/file_seal.h) the hash is that seal's and
/// costs nothing. Of another, older or from another program, it covers what describes the clips
/// (attributes, shapes, captions, sources, rows of text) and the numbers of some of them, which are
/// read here: the first, the last and others evenly between, at most 64 clips or 64 MiB of a file.
/// RunError if the disk fails.
DatasetIdentity dataset_identity(const std::vector<std::unique_ptr<LatentFile>>& files);

}  // namespace vmla::data
