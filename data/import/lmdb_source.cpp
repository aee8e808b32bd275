#include <ATen/ATen.h>

#include <algorithm>

#include "data/encode/job_fingerprint.h"
#include "data/import/latent_source.h"
#include "data/import/lmdb_rows.h"
#include "model/io/format.h"
#include "model/io/utf8.h"

namespace vmla::data {
namespace {

/// Why a row cannot be imported; empty if it can.
std::string fault_of(const LmdbRow& row, const std::vector<int64_t>& shape) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(shape)) * sizeof(uint16_t);
  if (row.latents.size() != bytes)
    return formatted("its latents have {} bytes, must have {}", row.latents.size(), bytes);
  if (!row.caption) return "has no prompt";
  if (const auto bad = io::first_bad_text_byte(*row.caption))
    return formatted("its prompt is no UTF-8, or holds a zero byte, at byte {}", *bad);
  return {};
}

class LmdbSource final : public LatentSource {
 public:
  explicit LmdbSource(const std::filesystem::path& path) : stored_(path) {
    for (const LmdbRow& row : stored_.rows()) {
      rows_.push_back({.file = row.file,
                       .number = row.number,
                       .place = formatted("{} row {}", row.file, row.number),
                       .caption = row.caption,
                       .fault = fault_of(row, stored_.shape())});
    }
  }

  const std::vector<SourceRow>& rows() const override { return rows_; }
  const std::vector<int64_t>& shape() const override { return stored_.shape(); }

  void identify(JobFingerprint& job) const override {
    for (const LmdbRow& row : stored_.rows())
      job.record(row.file, row.number, row.latents.size(), row.caption.value_or(""));
  }

  /// A value on overflow pages is aligned to 16 bytes, a small one may be not: it is copied.
  std::variant<SourceClip, std::string> read(size_t row) override {
    const std::string_view latents = stored_.rows().at(row).latents;
    at::Tensor half = at::empty(shape(), at::kHalf);
    std::copy_n(latents.data(), latents.size(), static_cast<char*>(half.data_ptr()));
    return SourceClip{.latents = half.to(at::kFloat), .text = {}};
  }

 private:
  LmdbRows stored_;
  std::vector<SourceRow> rows_;
};

}  // namespace

std::unique_ptr<LatentSource> make_lmdb_source(const std::filesystem::path& path) {
  return std::make_unique<LmdbSource>(path);
}

}  // namespace vmla::data
