#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "client/record.h"

namespace cairn::tools {

// How `consume -f` writes a record; the letters are kcat's, %v is rpk's.
//   %t topic   %p partition   %o offset   %T timestamp (ms since 1970)
//   %k key     %v or %s value   %K, %S their lengths in bytes (-1: null)
//   %h headers as name=value,name=value   %% a percent sign
//   \n \t \r \0 \\ \xHH
// A null key or value is written as nothing.
class RecordFormat {
 public:
  //   kInvalidArgument (a usage error)  names what is not known
  static absl::StatusOr<RecordFormat> Parse(std::string_view text);

  void Append(const client::ConsumedRecord& record, std::string& out) const;

 private:
  struct Piece {
    char field;  // 0: the literal
    std::string literal;
  };
  std::vector<Piece> pieces_;
};

// The backslash forms above, alone: for delimiters.
//   kInvalidArgument (a usage error)
absl::StatusOr<std::string> Unescape(std::string_view text);

}  // namespace cairn::tools
