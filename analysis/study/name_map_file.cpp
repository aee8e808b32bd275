#include <yaml-cpp/yaml.h>

#include <charconv>

#include "analysis/study/kv_names.h"
#include "analysis/study/tensor_names.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/yaml_text.h"

namespace vmla::analysis {
namespace {

constexpr char kValidKeys[] = "k and v (or {} and {}), kv, qkv, query_rows, transposed";

int64_t positive_number(const std::string& text, const std::string& where) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1)
    fail_user("{}: is {}, must be a number of rows from 1", where, io::quoted_name(text));
  return number;
}

bool yes_or_no(const std::string& text, const std::string& where) {
  if (text != "true" && text != "false")
    fail_user("{}: is {}, must be true or false", where, io::quoted_name(text));
  return text == "true";
}

}  // namespace

KvNames read_kv_names(const std::filesystem::path& yaml) {
  const KvNames ours;
  KvNames names{.k = "", .v = ""};
  std::string kv, qkv;
  const auto documents = io::parse_yaml_documents(io::read_text_file(yaml), yaml.string());
  const YAML::Node map = documents.empty() ? YAML::Node() : documents[0];
  if (!map.IsMap())
    fail_user("{}: expected a map from our tensor names to the file's", yaml.string());
  for (const auto& entry : map) {
    const std::string key = entry.first.as<std::string>("");
    const std::string where = formatted("{}: {}", yaml.string(), io::quoted_name(key));
    const std::string value = entry.second.IsScalar() ? entry.second.Scalar() : "";
    std::string* target = key == "k" || key == ours.k   ? &names.k
                          : key == "v" || key == ours.v ? &names.v
                          : key == "kv"                 ? &kv
                          : key == "qkv"                ? &qkv
                                                        : nullptr;
    if (target != nullptr) {
      if (!is_pattern(value)) {
        fail_user("{}: must be a tensor name with {} once, where the number stands", where, kLayer);
      }
      *target = value;
    } else if (key == "query_rows") {
      names.query_rows = positive_number(value, where);
    } else if (key == "transposed") {
      names.transposed = yes_or_no(value, where);
    } else {
      fail_user("{}: unknown key {}; valid are {}",
                yaml.string(),
                io::quoted_name(key),
                formatted(kValidKeys, ours.k, ours.v));
    }
  }
  const bool separate = !names.k.empty() && !names.v.empty() && kv.empty() && qkv.empty();
  const bool fused = names.k.empty() && names.v.empty() && kv.empty() != qkv.empty();
  if (!separate && !fused) {
    fail_user("{}: must name k and v, or kv alone, or qkv alone", yaml.string());
  }
  if (names.query_rows > 0 && qkv.empty())
    fail_user("{}: query_rows goes with qkv, whose first rows are the queries'", yaml.string());
  names.fused = kv.empty() ? qkv : kv;
  names.has_query = !qkv.empty();
  return names;
}

}  // namespace vmla::analysis
