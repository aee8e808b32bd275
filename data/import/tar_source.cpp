#include <ATen/ATen.h>

#include "data/encode/job_fingerprint.h"
#include "data/import/latent_source.h"
#include "data/import/saved_tensor.h"
#include "data/import/tar_rows.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"

namespace vmla::data {
namespace {

/// Where the clean state of an ODE path is.
enum class PathEnd : uint8_t { kInPath, kInLatent };

class TarSource final : public LatentSource {
 public:
  TarSource(const std::filesystem::path& path, int64_t states) : stored_(path) {
    for (const TarRow& row : stored_.rows()) {
      rows_.push_back({.file = row.file,
                       .number = row.number,
                       .place = formatted("{} {}", row.file, io::quoted_name(row.name)),
                       .caption = row.caption,
                       .has_text = row.text.has_value(),
                       .fault = row.fault});
    }
    look_at_first(path.string(), states);
    say_passed_over(path.string());
  }

  const std::vector<SourceRow>& rows() const override { return rows_; }
  const std::vector<int64_t>& shape() const override { return shape_; }

  void identify(JobFingerprint& job) const override {
    job.line(path_end_ == PathEnd::kInLatent);
    for (const TarRow& row : stored_.rows()) {
      job.record(row.file, row.number, row.name, row.caption.value_or(""), row.caption.has_value());
      for (const auto& bytes : {row.latent, row.path, row.text})
        job.line(bytes.has_value(), bytes.value_or(0));
    }
  }

  std::variant<SourceClip, std::string> read(size_t row) override {
    const TarContent content = stored_.read(stored_.rows().at(row));
    try {
      SourceClip clip{.latents = latents_of(content), .text = {}};
      if (const auto shape = clip.latents.sizes().vec(); shape != shape_) {
        return formatted("its latents have the shape {}, those of the first row {}",
                         shape_text(shape),
                         shape_text(shape_));
      }
      if (content.text) clip.text = without_padding(saved_tensor(*content.text, "txt_emb.pth", 2));
      if (clip.text && !at::isfinite(*clip.text).all().item<bool>())
        return "txt_emb.pth: holds NaN or infinity";
      return clip;
    } catch (const UserError& error) {
      return std::string(error.what());
    }
  }

 private:
  static at::Tensor clip_in(const std::string& content) {
    return frames_first(saved_tensor(content, "latent.pth", 4), "latent.pth").unsqueeze(0);
  }

  /// [S, F, C, H, W].
  at::Tensor latents_of(const TarContent& content) const {
    if (!content.path) return clip_in(*content.latent);
    at::Tensor path = frames_first(saved_tensor(*content.path, "path.pth", 5), "path.pth");
    if (path_end_ == PathEnd::kInPath) return path;
    if (!content.latent) fail_user("has path.pth without latent.pth, the path's end");
    const at::Tensor end = clip_in(*content.latent);
    if (end.sizes().slice(1) != path.sizes().slice(1))
      fail_user("latent.pth and path.pth are of different sizes");
    return at::cat({path, end});
  }

  /// The shape of all rows is that of the first which can be read.
  void look_at_first(const std::string& source, int64_t states) {
    std::string first_fault;
    for (size_t row = 0; row < rows_.size(); ++row) {
      std::string fault = rows_[row].fault;
      if (fault.empty()) {
        const TarContent content = stored_.read(stored_.rows()[row]);
        try {
          shape_ = latents_of(content).sizes().vec();
        } catch (const UserError& error) {
          fault = error.what();
        }
        if (fault.empty()) return set_path_end(source, content, states);
      }
      if (first_fault.empty()) first_fault = formatted("{}: {}", rows_[row].place, fault);
    }
    fail_user("{}: none of {} can be imported; the first: {}",
              source,
              io::counted(rows_.size(), "row"),
              first_fault);
  }

  /// Whether the path in the first row ends in its clean state, or before it: FastGen's own paths
  /// hold the noisy states alone.
  void set_path_end(const std::string& source, const TarContent& content, int64_t states) {
    if (!content.path || !content.latent) return;
    const at::Tensor path = latents_of(content), end = clip_in(*content.latent)[0];
    if (end.sizes() != path.sizes().slice(1))
      fail_user("{}: latent.pth and path.pth of its first row are of different sizes", source);
    // bf16 has 8 significant bits, and either of the two may have been rounded to it.
    constexpr double kRounding = 1e-2;
    const double apart = (path[-1] - end).norm().item<double>();
    if (apart <= kRounding * end.norm().item<double>() || states == path.size(0)) return;
    if (states != path.size(0) + 1) {
      fail_user(
          "{}: its paths of {} states do not end in latent.pth; give --ode-times: {} timesteps if "
          "latent.pth is their end (FastGen: 999,937,833,624,0 for 4 states), {} if not",
          source,
          path.size(0),
          path.size(0) + 1,
          path.size(0));
    }
    path_end_ = PathEnd::kInLatent;
    ++shape_.front();
  }

  void say_passed_over(const std::string& source) const {
    if (stored_.passed_over().empty()) return;
    std::string kinds;
    for (const auto& [kind, count] : stored_.passed_over())
      kinds += formatted("{}{} {}", kinds.empty() ? "" : ", ", count, io::quoted_name(kind));
    log::info("{}: not imported: {}", source, kinds);
  }

  TarRows stored_;
  std::vector<SourceRow> rows_;
  std::vector<int64_t> shape_;
  PathEnd path_end_ = PathEnd::kInPath;
};

}  // namespace

std::unique_ptr<LatentSource> make_tar_source(const std::filesystem::path& path, int64_t states) {
  return std::make_unique<TarSource>(path, states);
}

}  // namespace vmla::data
