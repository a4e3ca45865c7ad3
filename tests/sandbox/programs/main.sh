# Does what the first word of its input says.
read -r task first second
case $task in
  sum) echo $((first + second)) ;;
  fail) echo failing >&2; exit 3 ;;
  spin) while :; do :; done ;;
  hoard) text=0123456789abcdef; for i in {1..28}; do text=$text$text; done; echo hoarded ;;
  look)
    [ -r "$first" ] && echo file
    (exec 3<>"/dev/tcp/127.0.0.1/$second") 2>&- && echo network
    echo looked
    ;;
esac
