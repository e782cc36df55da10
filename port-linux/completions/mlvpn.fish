# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mlvpn_global_optspecs
    string join \n c/config= debug D= natural-title n/name= u/user= v/verbose q/quiet V/version yes-run-as-root h/help
end

function __fish_mlvpn_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mlvpn_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mlvpn_using_subcommand
    set -l cmd (__fish_mlvpn_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mlvpn -n "__fish_mlvpn_needs_command" -s c -l config -d 'Configuration file, mode 0600 [default: mlvpn.conf]' -r -F
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s D -d 'Log only what TOKEN says, to standard error; may be repeated' -r
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s n -l name -d 'Put NAME in the process title' -r
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s u -l user -d 'Become USER when started as root [default: mlvpn]' -r
complete -c mlvpn -n "__fish_mlvpn_needs_command" -l debug -d 'Log to standard error instead of syslog'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -l natural-title -d 'Leave the process title alone'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s v -l verbose -d 'Say more; may be repeated'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s q -l quiet -d 'Say less; may be repeated'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s V -l version -d 'Print the version'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -l yes-run-as-root -d 'Stay root (not advised)'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "check" -d 'Say what is wrong with a configuration, without running it'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "convert" -d 'Print mlvpn.conf as OpenWrt\'s /etc/config/mlvpn, or that as mlvpn.conf'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "demo" -d 'Show a tunnel over emulated links at work'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "keygen" -d 'Print a new private key, for private_key in the configuration'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "pubkey" -d 'Read a private key and print its public key, for the other end\'s public_key'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "gensecret" -d 'Print a new secret, for secret in the configurations of both ends'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "show" -d 'Show the tunnels that run here, their links and their peers'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "list" -d 'List the tunnels that run here'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "link" -d 'Use a link of a running tunnel otherwise, until it is told again or leaves the configuration'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "set" -d 'Change a tolerance of every link of a running tunnel, until it ends'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "peer" -d 'Show the peers of a running tunnel; admit one to a server or part with it, until the server ends'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "reload" -d 'Have a running tunnel read its configuration again'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "bench" -d 'Measure what this machine can seal, open and carry'
complete -c mlvpn -n "__fish_mlvpn_needs_command" -f -a "version" -d 'Print the version'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand check" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand convert" -l tunnel -d 'Which of several tunnels of OpenWrt\'s file' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand convert" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -l links -d 'Rate, delay and loss of each link, as 40mbit/10ms,10mbit/40ms/1%' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -l seconds -d 'How long to run, 5 to 3600 [default: 26]' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -l svg -d 'Draw throughput over time to FILE' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -l kernel -d 'Use real devices and kernel TCP in network namespaces'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -l json -d 'Print the figures as JSON'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand demo" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand keygen" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand pubkey" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand gensecret" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand show" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand show" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand show" -l json -d 'For programs'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand show" -l watch -d 'Show them anew every second'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand show" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand list" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand list" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand list" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand link" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand link" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand link" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand set" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand set" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand set" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and not __fish_seen_subcommand_from show add remove" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and not __fish_seen_subcommand_from show add remove" -f -a "show" -d 'Show the peers, or one'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and not __fish_seen_subcommand_from show add remove" -f -a "add" -d 'Admit a peer to a server of protocol 2 until that ends, and print the section of the configuration that keeps it. Networks outside of ip4, ip6 and remote_networks are named: the daemon routes only what its configuration says. A peer without a public key stands in the file'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and not __fish_seen_subcommand_from show add remove" -f -a "remove" -d 'Part with a peer of a server of protocol 2'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from show" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from show" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from show" -l json -d 'For programs'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -l public-key -d 'Its key, from `mlvpn pubkey` there' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -l secret-file -d 'File of mode 0600 with the secret both know besides the keys' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -l allowed-ips -d 'Networks it may send from and that are sent to it, separated by commas' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from remove" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from remove" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand peer; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand reload" -l tunnel -d 'The tunnel with this device, like mlvpn0' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand reload" -l socket -d 'The tunnel that listens there, its control_unix_path' -r -F
complete -c mlvpn -n "__fish_mlvpn_using_subcommand reload" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand bench" -l millis -d 'How long each figure takes, 50 to 10000 [default: 500]' -r
complete -c mlvpn -n "__fish_mlvpn_using_subcommand bench" -l json -d 'For programs'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand bench" -s h -l help -d 'Print help'
complete -c mlvpn -n "__fish_mlvpn_using_subcommand version" -s h -l help -d 'Print help'
