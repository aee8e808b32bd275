#include "analysis/sweep/earlier_tables.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "model/io/atomic_file.h"
#include "model/io/csv.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;

/// A table with a head, whose fields are found by their column's name.
class Table {
 public:
  explicit Table(const fs::path& file) : file_(file.string()) {
    rows_ = io::parse_csv(io::read_text_file(file), file_);
    if (rows_.empty()) fail_user("{}: is empty; a sweep's table begins with its columns", file_);
    for (size_t i = 1; i < rows_.size(); ++i) {
      if (rows_[i].size() != head().size())
        fail_user("{}: row {} has {} fields, and the first row names {}",
                  file_,
                  i + 1,
                  rows_[i].size(),
                  head().size());
    }
  }

  const std::vector<std::string>& head() const { return rows_.front(); }
  size_t rows() const { return rows_.size(); }  // with the head

  size_t column(const std::string& name) const {
    const auto found = std::ranges::find(head(), name);
    if (found == head().end())
      fail_user("{}: has no column '{}'; is it a sweep's, of this version?", file_, name);
    return static_cast<size_t>(found - head().begin());
  }

  const std::string& at(size_t row, size_t column) const { return rows_[row][column]; }

  const std::string& file() const { return file_; }

  double required_number(size_t row, size_t column) const {
    const std::optional<double> value = number(row, column);
    if (!value)
      fail_user("{}: row {}, {}: is empty", file_, row + 1, io::quoted_name(head()[column]));
    return *value;
  }

  /// Nothing where the field is empty.
  std::optional<double> number(size_t row, size_t column) const {
    const std::string& text = at(row, column);
    if (text.empty()) return std::nullopt;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
      fail_user("{}: row {}, {}: {} is no number",
                file_,
                row + 1,
                io::quoted_name(head()[column]),
                io::quoted_name(text));
    return value;
  }

 private:
  std::string file_;
  std::vector<std::vector<std::string>> rows_;
};

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

/// The curves by cell and seed, in the order of their steps.
struct Curves {
  std::string name;
  std::map<std::pair<std::string, std::string>, MetricSeries> of_runs;
};

Curves read_curves(const fs::path& file) {
  Curves curves;
  if (!fs::exists(file)) return curves;
  const Table table(file);
  const size_t cell = table.column("cell"), seed = table.column("seed");
  const size_t step = table.column("step"), value = table.head().size() - 1;
  curves.name = table.head()[value];
  for (size_t row = 1; row < table.rows(); ++row) {
    MetricSeries& curve = curves.of_runs[{table.at(row, cell), table.at(row, seed)}];
    curve.steps.push_back(table.required_number(row, step));
    curve.values.push_back(table.number(row, value).value_or(NAN));
  }
  return curves;
}

void read_runs(const fs::path& file, const Curves& curves, std::vector<EarlierRun>& runs) {
  const Table table(file);
  const size_t cell = table.column("cell"), seed = table.column("seed");
  const size_t state = table.column("state"), stages = table.column("stages");
  for (size_t row = 1; row < table.rows(); ++row) {
    if (table.at(row, state) != "done") continue;
    EarlierRun run{.stages = words_of(table.at(row, stages)),
                   .figures = {},
                   .curve_name = curves.name,
                   .curve = {}};
    for (size_t i = state + 1; i < stages; ++i) {
      const bool never = table.at(row, i) == "never";
      run.figures[table.head()[i]] = {.value = never ? std::nullopt : table.number(row, i),
                                      .never = never};
    }
    const auto curve = curves.of_runs.find({table.at(row, cell), table.at(row, seed)});
    if (curve != curves.of_runs.end()) run.curve = curve->second;
    runs.push_back(std::move(run));
  }
}

/// The figure that a value was chosen by stands between the columns `seed` and `stages`.
void read_tuning(const fs::path& file, std::vector<EarlierRun>& runs) {
  if (!fs::exists(file)) return;
  const Table table(file);
  const size_t stages = table.column("stages"), figure = table.column("seed") + 1;
  if (figure + 1 != stages)
    fail_user("{}: one figure must stand between seed and stages", table.file());
  for (size_t row = 1; row < table.rows(); ++row) {
    const std::optional<double> value = table.number(row, figure);
    if (!value) continue;
    runs.push_back({.stages = words_of(table.at(row, stages)),
                    .figures = {{table.head()[figure], {.value = value}}},
                    .curve_name = "",
                    .curve = {}});
  }
}

}  // namespace

std::vector<EarlierRun> read_earlier_tables(const fs::path& folder) {
  std::vector<EarlierRun> runs;
  read_runs(folder / "table.csv", read_curves(folder / "curves.csv"), runs);
  read_tuning(folder / "tune.csv", runs);
  return runs;
}

}  // namespace vmla::analysis
