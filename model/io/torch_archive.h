#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/io/pickle.h"

/// Files of torch.save (`.pt`, `.pth`) since PyTorch 1.6: a zip archive with a pickle, `data.pkl`,
/// and beside it the bytes of each storage, `data/KEY`. Read without running what the pickle says
/// and without LibTorch, so that it can be fuzzed.
namespace vmla::io {

/// A tensor in an archive.
struct TorchTensor {
  /// The keys that lead to it, with dots between them: "generator_ema.model.head.head.bias".
  std::string name;
  TorchType type;
  std::vector<int64_t> shape, stride;  // in elements; all of it lies inside the file
  uint64_t begin = 0;                  // of its first element, bytes from the start of the file
};

struct TorchArchive {
  std::vector<TorchTensor> tensors;  // in the order of their names, which are unique UTF-8
  std::vector<std::string> others;   // keys of the outermost dict with no tensor below them, sorted
};

/// Reads `file`, the bytes of a whole archive. Only headers, the pickle and storages of at most 64
/// KiB are touched, and compared with their checksums; larger ones stay where they are mapped.
/// UserError names `file_name`, the tensor and what is wrong: what zip_file.h and pickle.h refuse;
/// the older formats without zip and TorchScript archives, with how to save them again; another
/// byte order; tensors outside their storage; dicts nested without end.
TorchArchive parse_torch_archive(std::string_view file, const std::string& file_name);

/// The one tensor of `file`: saved alone, torch.save(tensor, FILE), or the only one of a dict or
/// list. As parse_torch_archive(), but all storages are touched and compared with their checksums;
/// UserError besides where there is none, or several. A tensor saved alone has the name "tensor".
TorchTensor parse_torch_tensor(std::string_view file, const std::string& file_name);

}  // namespace vmla::io
