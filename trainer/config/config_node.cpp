#include "trainer/config/config_node.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "model/io/error.h"

namespace vmla::trainer {
namespace {

// What a message says was found: "a list", "'many'"; a quoted scalar is said to be text, because
// `steps: "7"` would otherwise read as if 7 were refused.
std::string describe(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return "nothing";
    case ConfigNode::Kind::kScalar:
      return (node.quoted ? "the text '" : "'") + node.scalar + "'";
    case ConfigNode::Kind::kList:
      return "a list";
    case ConfigNode::Kind::kMap:
      return "a section";
  }
  return "";
}

// Levenshtein distance in one row: row[j] is the distance of the letters of `a` seen so far to the
// first j letters of `b`, `diagonal` the entry up left of the one that is computed.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

// Parses all of `text`; a leading plus is allowed, as in yaml. std::from_chars reads no locale, so
// that a decimal comma of the environment changes nothing.
template <class Number>
std::errc parse_number(std::string_view text, Number& value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return error;
  return end == text.data() + text.size() && !text.empty() ? std::errc{}
                                                           : std::errc::invalid_argument;
}

bool is_yaml_infinity_or_nan(const std::string& text) {
  for (const char* word :
       {".inf", "-.inf", "+.inf", ".nan", ".Inf", "-.Inf", ".NaN", ".INF", "-.INF", ".NAN"}) {
    if (text == word) return true;
  }
  return false;
}

// Whether the text needs no quotes to be read back as the same text. Narrower than yaml allows:
// what might be taken for a list item, a null or an indicator is quoted. Numbers and booleans stay
// plain, for the reader goes by the member's type.
bool plain_is_safe(const std::string& text) {
  if (text.empty() || text[0] == '-' || text == "null" || text == "Null" || text == "NULL")
    return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-' || c == '+';
  });
}

// The text in double quotes, with yaml's escapes for control characters; UTF-8 passes as it is.
std::string quoted_text(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Whether a value takes lines of its own below its key: a section that is not empty.
bool needs_block(const ConfigNode& node) {
  return node.is_map() && !node.entries.empty();
}

// A list of texts or sections has a line for each item, which may be long; one of numbers stays on
// the line of its key.
bool list_needs_block(const ConfigNode& node) {
  return node.is_list() &&
         std::any_of(node.items.begin(), node.items.end(), [](const ConfigNode& item) {
           return item.is_map() || (item.is_scalar() && item.quoted);
         });
}

// The entries of a section, one a line, sections below them indented by two.
void write_block(const ConfigNode& node, const std::string& indent, std::string& out) {
  for (const auto& [key, value] : node.entries) {
    out += indent + (plain_is_safe(key) ? key : quoted_text(key)) + ":";
    if (needs_block(value)) {
      out += "\n";
      write_block(value, indent + "  ", out);
    } else if (list_needs_block(value)) {
      out += "\n";
      for (const auto& item : value.items) out += indent + "  - " + to_inline_yaml(item) + "\n";
    } else {
      out += " " + to_inline_yaml(value) + "\n";
    }
  }
}

}  // namespace

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const auto& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

ConfigNode* ConfigNode::find(std::string_view key) {
  return const_cast<ConfigNode*>(std::as_const(*this).find(key));
}

ConfigNode scalar_node(std::string text, bool quoted) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kScalar;
  node.scalar = std::move(text);
  node.quoted = quoted;
  return node;
}

std::string to_inline_yaml(const ConfigNode& node) {
  std::string out;
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return "null";
    case ConfigNode::Kind::kScalar:
      return node.quoted && !plain_is_safe(node.scalar) ? quoted_text(node.scalar) : node.scalar;
    case ConfigNode::Kind::kList:
      for (const auto& item : node.items) out += (out.empty() ? "" : ", ") + to_inline_yaml(item);
      return "[" + out + "]";
    case ConfigNode::Kind::kMap:
      for (const auto& [key, value] : node.entries) {
        out += (out.empty() ? "" : ", ") + (plain_is_safe(key) ? key : quoted_text(key)) + ": " +
               to_inline_yaml(value);
      }
      return "{" + out + "}";
  }
  return out;
}

std::string to_yaml(const ConfigNode& root) {
  std::string out;
  write_block(root, "", out);
  return out;
}

std::string origin_of(const ConfigNode& root, const std::string& key) {
  // Walks down as far as the file goes: a key that is not there has the place of its section.
  const ConfigNode* node = &root;
  std::string origin = root.origin;
  size_t begin = 0;
  while (begin <= key.size()) {
    const size_t end = std::min(key.find('.', begin), key.size());
    node = node->find(std::string_view(key).substr(begin, end - begin));
    if (node == nullptr) break;
    origin = node->origin;
    begin = end + 1;
  }
  return origin;
}

void fail_type(const ConfigNode& node, const std::string& key, const std::string& wanted) {
  fail_user("{}: {}: {} is not {}", node.origin, key, describe(node), wanted);
}

int64_t to_int(const ConfigNode& node, const std::string& key) {
  int64_t value = 0;
  const std::string wanted = "an integer such as 16";
  if (!node.is_scalar() || node.quoted) fail_type(node, key, wanted);
  const std::errc error = parse_number(node.scalar, value);
  if (error == std::errc::result_out_of_range) {
    fail_user("{}: {}: {} does not fit into 64 bits; use a smaller integer",
              node.origin,
              key,
              node.scalar);
  }
  if (error != std::errc{}) fail_type(node, key, wanted);
  return value;
}

double to_double(const ConfigNode& node, const std::string& key) {
  double value = 0;
  const std::string wanted = "a number such as 0.5 or 1e-4";
  if (!node.is_scalar() || node.quoted) fail_type(node, key, wanted);
  const std::errc error = parse_number(node.scalar, value);
  if (error == std::errc::result_out_of_range) {
    fail_user("{}: {}: {} is outside the range of a double; use a number within it",
              node.origin,
              key,
              node.scalar);
  }
  if (is_yaml_infinity_or_nan(node.scalar) || (error == std::errc{} && !std::isfinite(value))) {
    fail_user("{}: {}: {} is not finite; use a finite number", node.origin, key, node.scalar);
  }
  if (error != std::errc{}) fail_type(node, key, wanted);
  return value;
}

bool to_bool(const ConfigNode& node, const std::string& key) {
  if (node.is_scalar() && !node.quoted) {
    if (node.scalar == "true" || node.scalar == "True" || node.scalar == "TRUE") return true;
    if (node.scalar == "false" || node.scalar == "False" || node.scalar == "FALSE") return false;
  }
  fail_type(node, key, "true or false");
}

std::string to_text(const ConfigNode& node, const std::string& key) {
  if (!node.is_scalar()) fail_type(node, key, "text");
  return node.scalar;
}

std::string shortest(double value) {
  // The longest shortest form of a double has 24 characters.
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end);
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  // A third of the letters may differ, at least two; one in a word of up to three letters: `lrr`
  // suggests lr, `foo` nothing.
  size_t limit = std::max<size_t>(2, word.size() / 3);
  if (word.size() <= 3) limit = 1;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    // A distance of the whole word would replace every letter: no resemblance.
    if (distance > limit || distance >= word.size()) continue;
    if (distance == limit && !best.empty()) continue;
    best = candidate;
    limit = distance;
  }
  return best;
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

void fail_unknown_key(const ConfigEntry& entry,
                      const std::string& section,
                      const std::vector<std::string>& valid,
                      const std::vector<std::string>& all_keys) {
  const std::string prefix = section.empty() ? "" : section + ".";
  std::string hint = nearest(entry.key, valid);
  if (!hint.empty()) {
    hint = prefix + hint;
  } else {
    // The right key in the wrong section: `lr` at the top means optimizer.lr.
    for (const auto& key : all_keys) {
      if (key.substr(key.rfind('.') + 1) == entry.key) {
        hint = key;
        break;
      }
    }
  }
  const std::string suggestion = hint.empty() ? "" : formatted("; did you mean {}?", hint);
  fail_user("{}: unknown key {}{}{} valid: {}",
            entry.value.origin,
            prefix,
            entry.key,
            suggestion.empty() ? ";" : suggestion,
            join(valid));
}

}  // namespace vmla::trainer
